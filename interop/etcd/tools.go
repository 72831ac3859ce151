//go:build tools

// Package tools pins the store that stands behind the stock API server.
package tools

import _ "go.etcd.io/etcd/server/v3"
