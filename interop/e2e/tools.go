//go:build tools

// Package tools pins the conformance tests of Kubernetes and the kubectl that they call.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/test/e2e"
)
