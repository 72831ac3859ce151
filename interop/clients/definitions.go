package main

import (
	"sort"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/restmapper"
	"k8s.io/utils/ptr"
)

func init() {
	scenarios["crd"] = defined
	scenarios["discovery"] = discovered
}

// definition makes a CRD of a group of the scenario's own, with status and scale.
func definition(group, plural, kind string) *apiextensionsv1.CustomResourceDefinition {
	integer := apiextensionsv1.JSONSchemaProps{Type: "integer", Minimum: ptr.To(1.0)}
	size := integer
	size.Default = &apiextensionsv1.JSON{Raw: []byte("3")}
	object := func(properties map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
	}
	whole := object(map[string]apiextensionsv1.JSONSchemaProps{
		"spec": object(map[string]apiextensionsv1.JSONSchemaProps{"size": size, "color": {Type: "string"}}),
		"status": object(map[string]apiextensionsv1.JSONSchemaProps{
			"size": integer, "phase": {Type: "string"}}),
	})
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ShortNames: []string{strings.ToLower(kind)[:2]}},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &whole},
				Subresources: &apiextensionsv1.CustomResourceSubresources{
					Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
					Scale:  &apiextensionsv1.CustomResourceSubresourceScale{SpecReplicasPath: ".spec.size", StatusReplicasPath: ".status.size"},
				},
			}},
		},
	}
}

// define installs a CRD and waits until it is Established; the returned function takes it away again.
func (r *run) define(crd *apiextensionsv1.CustomResourceDefinition) func() {
	crds := apiextensions.NewForConfigOrDie(r.protobuf()).ApiextensionsV1().CustomResourceDefinitions()
	got(crds.Create(r, crd, metav1.CreateOptions{}))
	r.until("the CRD is established", func() bool {
		for _, condition := range got(crds.Get(r, crd.Name, metav1.GetOptions{})).Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return true
			}
		}
		return false
	})
	return func() {
		must(crds.Delete(r, crd.Name, metav1.DeleteOptions{}))
		r.until("the CRD is gone", func() bool {
			_, err := crds.Get(r, crd.Name, metav1.GetOptions{})
			return err != nil
		})
	}
}

func defined(r *run) {
	group := "crd.clients.example.org"
	resource := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}
	widgets := dynamic.NewForConfigOrDie(r.config).Resource(resource).Namespace(r.namespace)
	widget := func(name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": group + "/v1", "kind": "Widget", "metadata": map[string]any{"name": name}, "spec": spec}}
	}
	_, err := widgets.Create(r, widget("early", nil), metav1.CreateOptions{})
	r.refused("before the CRD", err)
	undefine := r.define(definition(group, "widgets", "Widget"))
	crds := apiextensions.NewForConfigOrDie(r.protobuf()).ApiextensionsV1().CustomResourceDefinitions()
	r.show("definition", got(crds.Get(r, "widgets."+group, metav1.GetOptions{})).Status.AcceptedNames)
	r.until("discovery has it", func() bool {
		list, err := discovery.NewDiscoveryClientForConfigOrDie(r.config).ServerResourcesForGroupVersion(group + "/v1")
		return err == nil && len(list.APIResources) == 3
	})
	r.show("created", got(widgets.Create(r, widget("a", map[string]any{"color": "red", "unknown": "x"}), metav1.CreateOptions{})))
	// One mistake each: the stock server tells of several in any order.
	_, err = widgets.Create(r, widget("b", map[string]any{"size": int64(0)}), metav1.CreateOptions{})
	r.refused("out of range", err)
	_, err = widgets.Create(r, widget("b", map[string]any{"color": int64(1)}), metav1.CreateOptions{})
	r.refused("of another type", err)
	_, err = widgets.Create(r, widget("b", map[string]any{"unknown": "x"}), metav1.CreateOptions{FieldValidation: "Strict"})
	r.refused("unknown field", err)
	read := got(widgets.Get(r, "a", metav1.GetOptions{}))
	must(unstructured.SetNestedField(read.Object, "Running", "status", "phase"))
	must(unstructured.SetNestedField(read.Object, int64(9), "spec", "size"))
	r.show("status updated", got(widgets.UpdateStatus(r, read, metav1.UpdateOptions{})))
	r.show("spec patched", got(widgets.Patch(r, "a", types.MergePatchType, []byte(`{"spec":{"size":4},"status":{"phase":"Lost"}}`), metav1.PatchOptions{})))
	_, err = widgets.Patch(r, "a", types.StrategicMergePatchType, []byte(`{"spec":{"size":4}}`), metav1.PatchOptions{})
	r.refused("a strategic patch", err)
	r.show("scale", got(widgets.Get(r, "a", metav1.GetOptions{}, "scale")))
	r.show("scaled", got(widgets.Patch(r, "a", types.MergePatchType, []byte(`{"spec":{"replicas":6}}`), metav1.PatchOptions{}, "scale")))
	applied := widget("applied", map[string]any{"color": "blue"})
	r.show("applied", got(widgets.Apply(r, "applied", applied, metav1.ApplyOptions{FieldManager: "first"})))
	r.show("metadata", got(metadata.NewForConfigOrDie(metadata.ConfigFor(r.config)).Resource(resource).Namespace(r.namespace).Get(r, "a", metav1.GetOptions{})).Name)
	watching := got(widgets.Watch(r, metav1.ListOptions{ResourceVersion: got(widgets.Get(r, "a", metav1.GetOptions{})).GetResourceVersion()}))
	undefine()
	var ended []string
	for event := range watching.ResultChan() {
		if event.Type == "DELETED" {
			ended = append(ended, event.Object.(*unstructured.Unstructured).GetName())
		}
	}
	sort.Strings(ended)
	r.say("deleted with the CRD, then the watch ends: %v", ended)
	_, err = widgets.Get(r, "a", metav1.GetOptions{})
	r.refused("after the CRD", err)
}

func discovered(r *run) {
	client := discovery.NewDiscoveryClientForConfigOrDie(r.config)
	version := got(client.ServerVersion())
	r.say("version %s.%s", version.Major, version.Minor)
	say := func(how string, client discovery.DiscoveryInterface) {
		groups, lists, err := client.ServerGroupsAndResources()
		must(err)
		for _, group := range groups {
			if strings.HasSuffix(group.Name, "example.org") {
				continue
			}
			versions := ""
			for _, version := range group.Versions {
				versions += " " + version.Version
			}
			r.say("%s: group %q:%s, prefers %s", how, group.Name, versions, group.PreferredVersion.Version)
		}
		var resources []string
		for _, list := range lists {
			for _, resource := range list.APIResources {
				if !strings.Contains(list.GroupVersion, "example.org") {
					resources = append(resources, list.GroupVersion+" "+resource.Name+" "+resource.Kind+" "+resource.SingularName+" "+
						strings.Join(resource.Verbs, ",")+" "+strings.Join(resource.ShortNames, ",")+" "+strings.Join(resource.Categories, ","))
				}
			}
		}
		sort.Strings(resources)
		for _, resource := range resources {
			r.say("%s: %s", how, resource)
		}
	}
	say("aggregated", client)
	legacy := discovery.NewDiscoveryClientForConfigOrDie(r.config)
	legacy.UseLegacyDiscovery = true
	say("legacy", legacy)
	cached := memory.NewMemCacheClient(client)
	preferred := got(discovery.ServerPreferredNamespacedResources(cached))
	r.say("preferred, with a namespace: %d group versions", len(preferred))
	deferred := restmapper.NewDeferredDiscoveryRESTMapper(cached)
	mapper := restmapper.NewShortcutExpander(deferred, cached, nil)
	for _, name := range []string{"deploy", "po", "svc", "ing", "crd", "hpa", "cj", "sts", "endpointslices", "events"} {
		r.say("%s is %v", name, got(mapper.KindFor(schema.GroupVersionResource{Resource: name})))
	}
	_, err := mapper.KindFor(schema.GroupVersionResource{Resource: "gadgets"})
	r.say("gadgets: %v", err)
	undefine := r.define(definition("discovery.clients.example.org", "gadgets", "Gadget"))
	r.until("discovery has the CRD", func() bool {
		deferred.Reset()
		kind, err := mapper.KindFor(schema.GroupVersionResource{Resource: "gadgets"})
		return err == nil && kind.Kind == "Gadget"
	})
	r.say("gadgets: %v", got(mapper.KindFor(schema.GroupVersionResource{Resource: "gadgets"})))
	undefine()
	paths := got(client.OpenAPIV3().Paths())
	var names []string
	for name := range paths {
		if !strings.Contains(name, "example.org") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	r.say("OpenAPI v3: %v", names)
	for _, kind := range []string{runtime.ContentTypeJSON, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"} {
		document := got(paths["apis/apps/v1"].Schema(kind))
		r.say("OpenAPI v3 of apps/v1 as %s: more than 10 kB %v", kind, len(document) > 10_000)
	}
	document := got(client.OpenAPISchema())
	r.say("OpenAPI v2: version %s, has deployments %v", document.Swagger, strings.Contains(document.String(), "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"))
	r.say("must have: %v", discovery.ServerSupportsVersion(client, schema.GroupVersion{Group: "apps", Version: "v1"}) == nil)
}
