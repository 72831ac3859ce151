//go:build tools

// Package tools pins the program that the interop lane builds.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
