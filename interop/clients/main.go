package main
import (_ "k8s.io/client-go/kubernetes"; _ "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"; _ "sigs.k8s.io/controller-runtime"; _ "k8s.io/client-go/tools/leaderelection"; _ "k8s.io/client-go/dynamic"; _ "k8s.io/client-go/metadata"; _ "k8s.io/client-go/tools/pager")
func main(){}
