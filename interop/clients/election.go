package main

import (
	"context"
	"regexp"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
)

func init() {
	scenarios["leader-election"] = elected
	scenarios["events"] = evented
}

// candidate takes part in an election until its context ends; leading says whether it leads.
func candidate(ctx context.Context, r *run, name string, release bool, leading *atomic.Bool) {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: r.namespace, Name: "leader"},
		Client:     r.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: name},
	}
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: 4 * time.Second, RenewDeadline: 3 * time.Second, RetryPeriod: 300 * time.Millisecond,
		ReleaseOnCancel: release,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { leading.Store(true) },
			OnStoppedLeading: func() { leading.Store(false) },
		},
	})
}

func elected(r *run) {
	var first, second atomic.Bool
	lease := func(when string) {
		spec := got(r.client.CoordinationV1().Leases(r.namespace).Get(r, "leader", metav1.GetOptions{})).Spec
		r.say("%s: held by %q for %d s after %d transitions", when, *spec.HolderIdentity, *spec.LeaseDurationSeconds, *spec.LeaseTransitions)
	}
	one, dies := context.WithCancel(r)
	go candidate(one, r, "one", false, &first)
	r.until("one leads", first.Load)
	lease("at first")
	two, leaves := context.WithCancel(r)
	go candidate(two, r, "two", true, &second)
	time.Sleep(2 * time.Second)
	r.say("two leads beside it: %v", second.Load())
	dies()
	r.until("two leads", second.Load)
	r.say("one leads: %v", first.Load())
	lease("after one died")
	leaves()
	r.until("two is done", func() bool { return !second.Load() })
	r.until("two has let go", func() bool {
		spec := got(r.client.CoordinationV1().Leases(r.namespace).Get(r, "leader", metav1.GetOptions{})).Spec
		return *spec.HolderIdentity == ""
	})
	lease("after two left")
}

var generated = regexp.MustCompile(`\.[0-9a-f]{12,16}$`)

func evented(r *run) {
	object := r.configMap("a", nil)
	reference := &corev1.ObjectReference{Kind: "ConfigMap", APIVersion: "v1", Namespace: r.namespace, Name: "a", UID: object.UID}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: r.client.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "clients", Host: "here"})
	for i := 0; i < 3; i++ {
		recorder.Event(reference, corev1.EventTypeWarning, "Tried", "it did not work")
	}
	recorder.AnnotatedEventf(reference, map[string]string{"note": "x"}, corev1.EventTypeNormal, "Done", "after %d times", 3)
	list := func() *corev1.EventList {
		return got(r.client.CoreV1().Events(r.namespace).List(r, metav1.ListOptions{FieldSelector: "involvedObject.name=a,source=clients"}))
	}
	r.until("the events are written", func() bool {
		items := list().Items
		return len(items) == 2 && items[0].Count+items[1].Count == 4
	})
	for _, event := range list().Items {
		r.called(event.Name, generated.ReplaceAllString(event.Name, ".<generated>"))
		r.show("event "+event.Reason, event)
	}
	broadcaster.Shutdown()
	warnings := got(r.client.CoreV1().Events(r.namespace).List(r, metav1.ListOptions{FieldSelector: "type=Warning,reason=Tried"}))
	r.say("warnings: %d", len(warnings.Items))
	r.say("searched: %d", len(got(r.client.CoreV1().Events(r.namespace).SearchWithContext(r, scheme.Scheme, reference)).Items))

	sink := events.NewBroadcaster(&events.EventSinkImpl{Interface: r.client.EventsV1()})
	must(sink.StartRecordingToSinkWithContext(r))
	newer := sink.NewRecorder(scheme.Scheme, "clients.example.org/new")
	newer.Eventf(reference, nil, corev1.EventTypeNormal, "Seen", "Looking", "looked at %s", "a")
	var made runtime.Object
	r.until("the event is written", func() bool {
		for _, event := range got(r.client.EventsV1().Events(r.namespace).List(r, metav1.ListOptions{FieldSelector: "reason=Seen"})).Items {
			r.called(event.Name, generated.ReplaceAllString(event.Name, ".<generated>"))
			r.called(event.ReportingInstance, "<instance>")
			made = event.DeepCopy()
		}
		return made != nil
	})
	r.show("event of events.k8s.io", made)
	for _, event := range got(r.client.CoreV1().Events(r.namespace).List(r, metav1.ListOptions{FieldSelector: "reason=Seen"})).Items {
		r.show("the same in the core group", event)
	}
	_, err := r.client.CoreV1().Events(r.namespace).Create(r, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "bad"}, InvolvedObject: corev1.ObjectReference{Namespace: "other", Name: "a"}}, metav1.CreateOptions{})
	r.refused("an event about another namespace", err)
}
