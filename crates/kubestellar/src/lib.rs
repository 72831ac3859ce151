//! kubestellar
