//go:build tools

// Package tools pins the stock programs that the interop lane builds by package name.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
