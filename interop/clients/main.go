// Command clients plays what Kubernetes clients do against the server of KUBECONFIG and prints the facts that it saw,
// each a line, free of what differs between two runs (uids, revisions, times). The interop lane plays every scenario
// against a stock server and a space of ours, and compares the lines.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long a scenario waits for one thing to happen.
const patience = 90 * time.Second

// scenarios are added by the files that hold them.
var scenarios = map[string]func(*run){}

// run is one scenario that is being played.
type run struct {
	context.Context
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
	input     *bufio.Reader

	lock  sync.Mutex
	names map[string]string
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "clients list | clients SCENARIO")
		os.Exit(2)
	}
	if os.Args[1] == "list" {
		var names []string
		for name := range scenarios {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	play, known := scenarios[os.Args[1]]
	if !known {
		fmt.Fprintln(os.Stderr, "no such scenario:", os.Args[1])
		os.Exit(2)
	}
	defer func() {
		if why := recover(); why != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", why, debug.Stack())
			os.Exit(1)
		}
	}()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	must(err)
	config.QPS, config.Burst = 1000, 1000
	config.UserAgent = "clients"
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &run{Context: ctx, config: config, namespace: "clients-" + os.Args[1], names: map[string]string{}}
	r.input = bufio.NewReader(os.Stdin)
	r.client = kubernetes.NewForConfigOrDie(r.protobuf())
	// The namespace of an earlier run may still be there, or on its way out.
	r.until("the namespace is made", func() bool {
		_, err := r.client.CoreV1().Namespaces().Create(r, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: r.namespace}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			_ = r.client.CoreV1().Namespaces().Delete(r, r.namespace, metav1.DeleteOptions{})
		}
		return err == nil
	})
	play(r)
	_ = r.client.CoreV1().Namespaces().Delete(context.Background(), r.namespace, metav1.DeleteOptions{})
}

// protobuf is the configuration of a client that talks protobuf, as controllers do.
func (r *run) protobuf() *rest.Config {
	config := rest.CopyConfig(r.config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return config
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// got is a value that was asked for and must be there.
func got[T any](value T, err error) T {
	must(err)
	return value
}

// say prints a fact.
func (r *run) say(format string, arguments ...any) {
	r.lock.Lock()
	defer r.lock.Unlock()
	fmt.Println(r.normal(fmt.Sprintf(format, arguments...)))
}

// called has a generated name printed as something else from now on.
func (r *run) called(generated, name string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.names[generated] = name
}

var (
	uids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times  = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	rvs    = regexp.MustCompile(`"resourceVersion":"\d+"`)
	ips    = regexp.MustCompile(`10\.96\.\d+\.\d+`)
	server = regexp.MustCompile(`https://[0-9a-z.]+:\d+(/spaces/[a-z0-9]+)?`)
)

func (r *run) normal(text string) string {
	text = uids.ReplaceAllString(text, "<uid>")
	text = times.ReplaceAllString(text, "<time>")
	text = rvs.ReplaceAllString(text, `"resourceVersion":"<rv>"`)
	text = ips.ReplaceAllString(text, "<ip>")
	text = server.ReplaceAllString(text, "<server>")
	for generated, name := range r.names {
		text = strings.ReplaceAll(text, generated, name)
	}
	return text
}

// show prints an object whole, as JSON with sorted keys.
func (r *run) show(what string, object any) {
	text := got(json.Marshal(object))
	var sorted any
	must(json.Unmarshal(text, &sorted))
	order(sorted)
	r.say("%s %s", what, got(json.Marshal(sorted)))
}

// order puts the entries of managedFields in an order that does not come from the clock.
func order(value any) {
	switch value := value.(type) {
	case map[string]any:
		if fields, found := value["managedFields"].([]any); found {
			sort.SliceStable(fields, func(a, b int) bool {
				return fmt.Sprint(fields[a].(map[string]any)["manager"]) < fmt.Sprint(fields[b].(map[string]any)["manager"])
			})
		}
		for _, part := range value {
			order(part)
		}
	case []any:
		for _, part := range value {
			order(part)
		}
	}
}

// refused prints what a server says to a request that has to fail.
func (r *run) refused(what string, err error) {
	if err == nil {
		r.say("%s: accepted", what)
		return
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		r.say("%s: %v", what, err)
		return
	}
	s := status.Status()
	causes := ""
	if s.Details != nil {
		// The stock server says a cause twice that two of its layers find.
		for _, cause := range s.Details.Causes {
			if said := fmt.Sprintf(" [%s %s: %s]", cause.Type, cause.Field, cause.Message); !strings.Contains(causes, said) {
				causes += said
			}
		}
	}
	r.say("%s: %d %s: %s%s", what, s.Code, s.Reason, s.Message, causes)
}

// until waits until something is so.
func (r *run) until(what string, so func() bool) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	panic("waited in vain: " + what)
}

// restart has the server killed and started again.
func (r *run) restart() {
	r.lock.Lock()
	fmt.Println("@restart")
	r.lock.Unlock()
	got(r.input.ReadString('\n'))
}
