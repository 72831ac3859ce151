package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
)

func init() {
	scenarios["finalizers"] = finalized
	scenarios["retry-on-conflict"] = retried
	scenarios["pager"] = paged
	scenarios["owners"] = owned
	scenarios["watch-until"] = watchedUntil
}

func finalized(r *run) {
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	made := got(maps.Create(r, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "made-", Finalizers: []string{"example.org/hold"}}}, metav1.CreateOptions{}))
	r.called(made.Name, "made-<generated>")
	r.say("generated: prefix %v, %d more", strings.HasPrefix(made.Name, "made-"), len(made.Name)-len("made-"))
	must(maps.Delete(r, made.Name, metav1.DeleteOptions{}))
	held := got(maps.Get(r, made.Name, metav1.GetOptions{}))
	r.show("held", held)
	held.Finalizers = append(held.Finalizers, "example.org/late")
	_, err := maps.Update(r, held, metav1.UpdateOptions{})
	r.refused("a finalizer added while it goes", err)
	must(maps.Delete(r, made.Name, metav1.DeleteOptions{}))
	again := got(maps.Get(r, made.Name, metav1.GetOptions{}))
	r.say("deleted twice: same time %v", again.DeletionTimestamp.Equal(held.DeletionTimestamp))
	again.Finalizers = nil
	got(maps.Update(r, again, metav1.UpdateOptions{}))
	_, err = maps.Get(r, made.Name, metav1.GetOptions{})
	r.refused("released", err)
	_, err = maps.Create(r, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Finalizers: []string{"nonsense"}}}, metav1.CreateOptions{})
	r.refused("a finalizer without a domain", err)
}

func retried(r *run) {
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	r.configMap("counter", nil)
	var group sync.WaitGroup
	for worker := 0; worker < 4; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < 5; i++ {
				must(retry.OnError(retry.DefaultBackoff, func(error) bool { return true }, func() error {
					return retry.RetryOnConflict(retry.DefaultRetry, func() error {
						object, err := maps.Get(r, "counter", metav1.GetOptions{})
						if err != nil {
							return err
						}
						if object.Data == nil {
							object.Data = map[string]string{}
						}
						object.Data["n"] += "x"
						_, err = maps.Update(r, object, metav1.UpdateOptions{})
						return err
					})
				}))
			}
		}()
	}
	group.Wait()
	r.say("counted by four at once: %d", len(got(maps.Get(r, "counter", metav1.GetOptions{})).Data["n"]))
}

func paged(r *run) {
	for i := 0; i < 10; i++ {
		r.configMap(fmt.Sprintf("p%d", i), map[string]string{"page": "yes"})
	}
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		list, err := maps.List(ctx, options)
		if err == nil {
			r.say("page of %d, more %v, remaining %s", len(list.Items), list.Continue != "", remaining(list.RemainingItemCount))
		}
		return list, err
	})
	pages.PageSize, pages.PageBufferSize = 3, 0
	var names []string
	must(pages.EachListItem(r, metav1.ListOptions{LabelSelector: "page=yes"}, func(object runtime.Object) error {
		names = append(names, object.(*corev1.ConfigMap).Name)
		return nil
	}))
	r.say("items: %v", names)
	whole := got(maps.List(r, metav1.ListOptions{Limit: 4}))
	r.say("without a selector: %d, remaining %s", len(whole.Items), remaining(whole.RemainingItemCount))
}

func remaining(count *int64) string {
	if count == nil {
		return "unsaid"
	}
	return fmt.Sprint(*count)
}

func owned(r *run) {
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	child := func(name string, owner *corev1.ConfigMap, block bool) {
		got(maps.Create(r, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, BlockOwnerDeletion: ptr.To(block)}}}}, metav1.CreateOptions{}))
	}
	gone := func(name string) {
		r.until(name+" is gone", func() bool { _, err := maps.Get(r, name, metav1.GetOptions{}); return err != nil })
		r.say("%s is gone", name)
	}
	for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground} {
		owner := r.configMap("owner", nil)
		child("child", owner, true)
		must(maps.Delete(r, "owner", metav1.DeleteOptions{PropagationPolicy: &policy}))
		gone("owner")
		gone("child")
	}
	owner := r.configMap("owner", nil)
	child("child", owner, false)
	must(maps.Delete(r, "owner", metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationOrphan)}))
	gone("owner")
	r.show("orphaned", got(maps.Get(r, "child", metav1.GetOptions{})).OwnerReferences)
}

func watchedUntil(r *run) {
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	r.configMap("a", nil)
	listing := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = "metadata.name=a"
			return maps.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = "metadata.name=a"
			return maps.Watch(ctx, options)
		},
	}
	go func() { r.touch("a", "yes") }()
	event := got(watchtools.UntilWithSync(r, listing, &corev1.ConfigMap{}, nil, func(event watch.Event) (bool, error) {
		object, is := event.Object.(*corev1.ConfigMap)
		return is && object.Data["touched"] == "yes", nil
	}))
	r.show("seen", event.Object.(*corev1.ConfigMap).Data)
	_, err := watchtools.UntilWithoutRetry(r, got(maps.Watch(r, metav1.ListOptions{TimeoutSeconds: ptr.To(int64(1)), FieldSelector: "metadata.name=none"})),
		func(watch.Event) (bool, error) { return false, nil })
	r.refused("a watch that ends by its timeout", err)
}
