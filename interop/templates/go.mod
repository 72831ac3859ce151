module kubestellar.io/interop/templates

go 1.21
