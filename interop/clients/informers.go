package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

func init() {
	scenarios["informers-list"] = func(r *run) { must(os.Setenv("KUBE_FEATURE_WatchListClient", "false")); informed(r) }
	scenarios["informers-watchlist"] = func(r *run) { must(os.Setenv("KUBE_FEATURE_WatchListClient", "true")); informed(r) }
	scenarios["restart"] = restarted
	scenarios["watch-expired"] = expired
}

// wire makes connections that can be cut, and writes down which requests read collections.
type wire struct {
	lock        sync.Mutex
	connections []net.Conn
	requests    []string
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		w.lock.Lock()
		w.connections = append(w.connections, connection)
		w.lock.Unlock()
	}
	return connection, err
}

func (w *wire) cut() {
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, connection := range w.connections {
		_ = connection.Close()
	}
	w.connections = nil
}

// taken returns what was asked for since the last time, each once.
func (w *wire) taken() []string {
	w.lock.Lock()
	defer w.lock.Unlock()
	seen := map[string]bool{}
	var kinds []string
	for _, request := range w.requests {
		if !seen[request] {
			seen[request] = true
			kinds = append(kinds, request)
		}
	}
	w.requests = nil
	sort.Strings(kinds)
	return kinds
}

type counted struct {
	wire *wire
	next http.RoundTripper
}

func (c counted) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	kind := "list"
	if query.Get("watch") != "" {
		kind = "watch"
		if query.Get("sendInitialEvents") != "" {
			kind = "watch-list"
		}
	}
	c.wire.lock.Lock()
	c.wire.requests = append(c.wire.requests, kind)
	c.wire.lock.Unlock()
	return c.next.RoundTrip(request)
}

// seen keeps the events of informers.
type seen struct {
	lock   sync.Mutex
	events map[string]int
}

func (s *seen) add(format string, arguments ...any) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.events[fmt.Sprintf(format, arguments...)]++
}

func (s *seen) has(event string) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.events[event] > 0
}

// taken prints the events since the last time, with how often each came, and forgets them.
func (s *seen) say(r *run, when string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var events []string
	for event, count := range s.events {
		events = append(events, fmt.Sprintf("%s x%d", event, count))
	}
	sort.Strings(events)
	r.say("%s: %q", when, events)
	s.events = map[string]int{}
}

func (s *seen) handler(kind string) cache.ResourceEventHandler {
	name := func(object any) string { return got(meta.Accessor(object)).GetName() }
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { s.add("%s %s added", kind, name(object)) },
		UpdateFunc: func(old, object any) {
			if got(meta.Accessor(old)).GetResourceVersion() != got(meta.Accessor(object)).GetResourceVersion() {
				s.add("%s %s updated", kind, name(object))
			}
		},
		DeleteFunc: func(object any) {
			if unknown, is := object.(cache.DeletedFinalStateUnknown); is {
				object = unknown.Obj
			}
			s.add("%s %s deleted", kind, name(object))
		},
	}
}

func (r *run) configMap(name string, labels map[string]string) *corev1.ConfigMap {
	return got(r.client.CoreV1().ConfigMaps(r.namespace).Create(r, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{}))
}

func (r *run) touch(name, value string) {
	patch := []byte(`{"data":{"touched":"` + value + `"}}`)
	got(r.client.CoreV1().ConfigMaps(r.namespace).Patch(r, name, types.MergePatchType, patch, metav1.PatchOptions{}))
}

// informers of the scenario's namespace, started and synced.
func (r *run) informers(w *wire, s *seen) informers.SharedInformerFactory {
	config := r.protobuf()
	config.Dial = w.dial
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{w, next} })
	factory := informers.NewSharedInformerFactoryWithOptions(kubernetes.NewForConfigOrDie(config), 0,
		informers.WithNamespace(r.namespace), informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.LabelSelector = "watched=yes"
		}))
	got(factory.Core().V1().ConfigMaps().Informer().AddEventHandler(s.handler("ConfigMap")))
	got(factory.Apps().V1().Deployments().Informer().AddEventHandler(s.handler("Deployment")))
	factory.Start(r.Done())
	for kind, synced := range factory.WaitForCacheSync(r.Done()) {
		if !synced {
			panic(fmt.Sprint("not synced: ", kind))
		}
	}
	return factory
}

func informed(r *run) {
	w, s := &wire{}, &seen{events: map[string]int{}}
	watched := map[string]string{"watched": "yes"}
	r.configMap("a", watched)
	r.configMap("b", watched)
	r.configMap("unwatched", nil)
	deployed := named(deployment(), "d")
	deployed.Labels = watched
	got(r.client.AppsV1().Deployments(r.namespace).Create(r, deployed, metav1.CreateOptions{}))
	factory := r.informers(w, s)
	lister := factory.Core().V1().ConfigMaps().Lister().ConfigMaps(r.namespace)
	r.until("first events", func() bool { return s.has("ConfigMap b added") && s.has("Deployment d added") })
	s.say(r, "at first")
	got(lister.Get("a"))
	_, err := lister.Get("unwatched")
	r.refused("not in the cache", err)

	r.configMap("c", watched)
	r.touch("a", "1")
	r.until("c added", func() bool { return s.has("ConfigMap c added") && s.has("ConfigMap a updated") })
	must(r.client.CoreV1().ConfigMaps(r.namespace).Delete(r, "b", metav1.DeleteOptions{}))
	r.until("b deleted", func() bool { return s.has("ConfigMap b deleted") })
	s.say(r, "after changes")
	r.say("read by %q", w.taken())

	// A label taken away is a deletion to who selects by it; given back, it is an addition.
	unlabel := []byte(`{"metadata":{"labels":{"watched":null}}}`)
	got(r.client.CoreV1().ConfigMaps(r.namespace).Patch(r, "c", types.MergePatchType, unlabel, metav1.PatchOptions{}))
	r.until("c deleted", func() bool { return s.has("ConfigMap c deleted") })
	label := []byte(`{"metadata":{"labels":{"watched":"yes"}}}`)
	got(r.client.CoreV1().ConfigMaps(r.namespace).Patch(r, "c", types.MergePatchType, label, metav1.PatchOptions{}))
	r.until("c added", func() bool { return s.has("ConfigMap c added") })
	s.say(r, "after labels")

	for round := 0; round < 3; round++ {
		w.taken()
		w.cut()
		r.touch("a", fmt.Sprint("cut", round))
		name := fmt.Sprint("cut", round)
		r.configMap(name, watched)
		r.until("resumed", func() bool { return s.has("ConfigMap a updated") && s.has("ConfigMap "+name+" added") })
		s.say(r, "after the connection was cut")
	}
	r.say("read by %q", w.taken())
	must(r.client.CoreV1().ConfigMaps(r.namespace).DeleteCollection(r, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "watched=yes"}))
	r.until("all deleted", func() bool { return s.has("ConfigMap cut2 deleted") && s.has("ConfigMap a deleted") })
	s.say(r, "after all were deleted")
}

// restarted has the server killed while informers run.
func restarted(r *run) {
	w, s := &wire{}, &seen{events: map[string]int{}}
	watched := map[string]string{"watched": "yes"}
	r.configMap("a", watched)
	before := r.configMap("b", watched)
	r.informers(w, s)
	r.until("first events", func() bool { return s.has("ConfigMap a added") && s.has("ConfigMap b added") })
	s.say(r, "at first")
	r.restart()
	// The first request may find a connection that is gone.
	r.until("the server answers", func() bool {
		_, err := r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "a", metav1.GetOptions{})
		return err == nil
	})
	after := got(r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "b", metav1.GetOptions{}))
	r.say("what was written is there: %v", after.UID == before.UID && after.ResourceVersion == before.ResourceVersion)
	r.touch("a", "after")
	r.configMap("c", watched)
	must(r.client.CoreV1().ConfigMaps(r.namespace).Delete(r, "b", metav1.DeleteOptions{}))
	r.until("informers go on", func() bool {
		return s.has("ConfigMap a updated") && s.has("ConfigMap c added") && s.has("ConfigMap b deleted")
	})
	s.say(r, "after the restart")
}

// expired asks for revisions that are not there: what clients recover from.
func expired(r *run) {
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	for i := 0; i < 6; i++ {
		r.configMap(fmt.Sprint("m", i), map[string]string{"watched": "yes"})
	}
	page := got(maps.List(r, metav1.ListOptions{Limit: 2, LabelSelector: "watched=yes"}))
	r.say("first page: %d, more: %v, remaining: %v", len(page.Items), page.Continue != "", page.RemainingItemCount)
	must(maps.Delete(r, "m3", metav1.DeleteOptions{}))
	page = got(maps.List(r, metav1.ListOptions{Limit: 9, LabelSelector: "watched=yes", Continue: page.Continue}))
	r.say("the rest is of the first page's revision: %d", len(page.Items))
	_, err := maps.List(r, metav1.ListOptions{Limit: 2, Continue: "nonsense"})
	r.refused("a broken continue", err)
	_, err = maps.List(r, metav1.ListOptions{ResourceVersion: "999999999", ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	r.say("a revision to come, exactly: reason %s", apierrors.ReasonForError(err))
	// Asked once: client-go would go on for as long as the server tells it to try again.
	err = r.client.CoreV1().RESTClient().Get().Namespace(r.namespace).Resource("configmaps").
		Param("resourceVersion", "999999999").Param("resourceVersionMatch", "NotOlderThan").MaxRetries(0).Do(r).Error()
	r.say("a revision to come, or newer: reason %s", apierrors.ReasonForError(err))
	_, err = maps.List(r, metav1.ListOptions{ResourceVersion: "x"})
	r.refused("no revision", err)
}
