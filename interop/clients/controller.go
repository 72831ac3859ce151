package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func init() {
	scenarios["controller-runtime"] = controlled
}

const gizmoGroup = "controller.clients.example.org"

func gizmo(namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: gizmoGroup, Version: "v1", Kind: "Gizmo"})
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// reconciler keeps a ConfigMap of each Gizmo with the Gizmo's color, says so in its status, and holds it by a finalizer
// until it has said goodbye.
type reconciler struct {
	client    client.Client
	namespace string
	goodbyes  atomic.Int32
}

const finalizer = gizmoGroup + "/goodbye"

func (c *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	owner := gizmo("", "")
	if err := c.client.Get(ctx, request.NamespacedName, owner); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if owner.GetDeletionTimestamp() != nil {
		if controllerutil.RemoveFinalizer(owner, finalizer) {
			c.goodbyes.Add(1)
			return reconcile.Result{}, client.IgnoreNotFound(c.client.Update(ctx, owner))
		}
		return reconcile.Result{}, nil
	}
	if controllerutil.AddFinalizer(owner, finalizer) {
		return reconcile.Result{}, c.client.Update(ctx, owner)
	}
	color, _, _ := unstructured.NestedString(owner.Object, "spec", "color")
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}}
	if _, err := controllerutil.CreateOrUpdate(ctx, c.client, owned, func() error {
		owned.Data = map[string]string{"color": color}
		return controllerutil.SetControllerReference(owner, owned, c.client.Scheme())
	}); err != nil {
		return reconcile.Result{}, err
	}
	before := owner.DeepCopy()
	if err := unstructured.SetNestedField(owner.Object, "Painted "+color, "status", "phase"); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, client.IgnoreNotFound(c.client.Status().Patch(ctx, owner, client.MergeFrom(before)))
}

func controlled(r *run) {
	ctrl.SetLogger(klog.Background())
	undefine := r.define(definition(gizmoGroup, "gizmos", "Gizmo"))
	manager := got(ctrl.NewManager(r.config, ctrl.Options{
		Metrics:        metricsserver.Options{BindAddress: "0"},
		LeaderElection: true, LeaderElectionID: "clients", LeaderElectionNamespace: r.namespace,
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{r.namespace: {}}},
	}))
	painter := &reconciler{client: manager.GetClient(), namespace: r.namespace}
	must(ctrl.NewControllerManagedBy(manager).For(gizmo("", "")).Owns(&corev1.ConfigMap{}).Complete(painter))
	must(manager.GetFieldIndexer().IndexField(r, &corev1.ConfigMap{}, "color", func(object client.Object) []string {
		return []string{object.(*corev1.ConfigMap).Data["color"]}
	}))
	ctx, stop := context.WithCancel(r)
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	<-manager.Elected()
	lease := got(r.client.CoordinationV1().Leases(r.namespace).Get(r, "clients", metav1.GetOptions{}))
	host, _ := os.Hostname()
	r.say("leads: %v", len(*lease.Spec.HolderIdentity) > len(host))

	c := manager.GetClient()
	one := gizmo(r.namespace, "one")
	must(unstructured.SetNestedField(one.Object, "red", "spec", "color"))
	must(c.Create(r, one))
	read := func(name string) *unstructured.Unstructured {
		object := gizmo(r.namespace, name)
		if err := manager.GetAPIReader().Get(r, client.ObjectKeyFromObject(object), object); err != nil {
			return nil
		}
		return object
	}
	painted := func(name, color string) {
		r.until(name+" is "+color, func() bool {
			object := read(name)
			if object == nil {
				return false
			}
			phase, _, _ := unstructured.NestedString(object.Object, "status", "phase")
			return phase == "Painted "+color
		})
		r.say("%s is painted %s", name, color)
	}
	painted("one", "red")
	object := read("one")
	object.SetManagedFields(nil)
	r.show("reconciled", object)
	config := got(r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "one", metav1.GetOptions{}))
	config.ManagedFields = nil
	r.show("owned", config)

	// Changed by a patch; undone by another; what is owned comes back when it is deleted.
	before := object.DeepCopy()
	must(unstructured.SetNestedField(object.Object, "green", "spec", "color"))
	must(c.Patch(r, object, client.MergeFrom(before)))
	painted("one", "green")
	must(c.Delete(r, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "one"}}))
	r.until("the owned one comes back", func() bool {
		now, err := r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "one", metav1.GetOptions{})
		return err == nil && now.UID != config.UID
	})
	r.say("what was owned is made again")
	stale := before.DeepCopy()
	err := c.Patch(r, stale, client.MergeFromWithOptions(object.DeepCopy(), client.MergeFromWithOptimisticLock{}))
	r.say("a patch with an old revision: conflict %v", apierrors.IsConflict(err))

	apply := coreapply.ConfigMap("applied", r.namespace).WithData(map[string]string{"color": "green"}).WithLabels(map[string]string{"by": "apply"})
	must(c.Apply(r, apply, client.FieldOwner("clients"), client.ForceOwnership))
	applied := &corev1.ConfigMap{}
	r.until("the cache has it", func() bool {
		return c.Get(r, client.ObjectKey{Namespace: r.namespace, Name: "applied"}, applied) == nil
	})
	r.show("applied", applied)
	// The owner is the one that came back: what belongs to one that is gone is collected, sooner or later.
	back := got(r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "one", metav1.GetOptions{}))
	must(c.Apply(r, coreapply.ConfigMap("applied", r.namespace).WithOwnerReferences(metaapply.OwnerReference().
		WithAPIVersion("v1").WithKind("ConfigMap").WithName("one").WithUID(back.UID)), client.FieldOwner("other")))
	indexed := &corev1.ConfigMapList{}
	r.until("the index has both", func() bool {
		must(c.List(r, indexed, client.InNamespace(r.namespace), client.MatchingFields{"color": "green"}))
		return len(indexed.Items) == 2
	})
	r.say("found by index: %d", len(indexed.Items))
	for i := 0; i < 10; i++ {
		more := gizmo(r.namespace, fmt.Sprint("more", i))
		must(unstructured.SetNestedField(more.Object, "blue", "spec", "color"))
		must(c.Create(r, more))
	}
	for i := 0; i < 10; i++ {
		painted(fmt.Sprint("more", i), "blue")
	}
	must(c.DeleteAllOf(r, gizmo("", ""), client.InNamespace(r.namespace)))
	r.until("all Gizmos are gone", func() bool {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: gizmoGroup, Version: "v1", Kind: "GizmoList"})
		must(manager.GetAPIReader().List(r, list, client.InNamespace(r.namespace)))
		return len(list.Items) == 0
	})
	r.say("said goodbye to all: %v", painter.goodbyes.Load() >= 11)
	r.until("what they owned is gone", func() bool {
		_, err := r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "more9", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	r.say("what they owned is gone")
	stop()
	select {
	case err := <-ended:
		r.say("the manager ends: %v", err)
	case <-time.After(patience):
		panic("the manager does not end")
	}
	undefine()
}
