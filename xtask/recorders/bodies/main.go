// Writes what Go's own encoders make of one object of each built-in kind: the protobuf body in hex, and the JSON.
// The objects are filled from a fixed seed, with zero, empty and absent values among the others.
//
//	go run . > ../../../crates/apiserver/data/recorded-bodies.txt.z
package main

import (
	"compress/zlib"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/randfill"
)

// Objects of each kind.
const each = 2

// Kinds that no server takes as a body.
var unpublished = map[string]bool{
	"APIGroup": true, "APIGroupList": true, "APIResourceList": true, "APIVersions": true, "ConversionReview": true, "List": true,
	"PodStatusResult": true, "RangeAllocation": true, "SerializedReference": true, "WatchEvent": true, "Status": true,
}

var scheme = runtime.NewScheme()

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	for _, add := range []func(*runtime.Scheme) error{
		admissionregistrationv1.AddToScheme, appsv1.AddToScheme, authenticationv1.AddToScheme,
		authorizationv1.AddToScheme, autoscalingv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme,
		certificatesv1.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme,
		eventsv1.AddToScheme, flowcontrolv1.AddToScheme, networkingv1.AddToScheme, nodev1.AddToScheme,
		policyv1.AddToScheme, rbacv1.AddToScheme, resourcev1.AddToScheme, schedulingv1.AddToScheme,
		storagev1.AddToScheme, apiextensionsv1.AddToScheme, apiregistrationv1.AddToScheme,
	} {
		check(add(scheme))
	}
	fill := randfill.NewWithSeed(1).NilChance(0.35).NumElements(1, 2).MaxDepth(9).Funcs(
		func(s *string, c randfill.Continue) { *s = texts[c.Intn(len(texts))] },
		func(t *metav1.TypeMeta, c randfill.Continue) {},
		func(t *metav1.Time, c randfill.Continue) {
			if c.Intn(3) > 0 {
				t.Time = time.Unix(int64(c.Intn(2000000000)), 0).UTC()
			}
		},
		func(t *metav1.MicroTime, c randfill.Continue) {
			if c.Intn(3) > 0 {
				t.Time = time.Unix(int64(c.Intn(2000000000)), int64(c.Intn(1000000))*1000).UTC()
			}
		},
		func(q *resource.Quantity, c randfill.Continue) {
			if c.Intn(4) > 0 {
				*q = resource.MustParse([]string{"100m", "1Gi", "2", "0"}[c.Intn(4)])
			}
		},
		func(v *intstr.IntOrString, c randfill.Continue) {
			if c.Intn(2) == 0 {
				*v = intstr.FromInt32(int32(c.Intn(3)))
			} else {
				*v = intstr.FromString([]string{"http", "25%", ""}[c.Intn(3)])
			}
		},
		func(i *int32, c randfill.Continue) { *i = []int32{0, 1, 80, -7}[c.Intn(4)] },
		func(i *int64, c randfill.Continue) { *i = []int64{0, 1, 1 << 40, -7}[c.Intn(4)] },
		func(f *float64, c randfill.Continue) { *f = []float64{0, 1, 0.5, -7.25}[c.Intn(4)] },
		func(f *metav1.FieldsV1, c randfill.Continue) { f.SetRawString(`{"f:metadata":{}}`) },
		func(r *runtime.RawExtension, c randfill.Continue) { r.Raw = []byte(`{"a":[1,null,"b"]}`) },
		func(j *apiextensionsv1.JSON, c randfill.Continue) {
			j.Raw = []byte([]string{`null`, `1`, `{"a":"b"}`}[c.Intn(3)])
		},
		func(p *apiextensionsv1.JSONSchemaPropsOrArray, c randfill.Continue) {
			one := apiextensionsv1.JSONSchemaProps{Type: "string"}
			if c.Intn(2) == 0 {
				p.Schema = &one
			} else {
				p.JSONSchemas = []apiextensionsv1.JSONSchemaProps{one, one}
			}
		},
		func(p *apiextensionsv1.JSONSchemaPropsOrStringArray, c randfill.Continue) {
			if c.Intn(2) == 0 {
				p.Schema = &apiextensionsv1.JSONSchemaProps{Type: "string"}
			} else {
				p.Property = []string{"a", "b"}
			}
		},
		func(p *apiextensionsv1.JSONSchemaPropsOrBool, c randfill.Continue) {
			switch c.Intn(3) {
			case 0:
				p.Allows, p.Schema = true, &apiextensionsv1.JSONSchemaProps{Type: "string"}
			case 1:
				p.Allows = true
			}
		},
		func(u *types.UID, c randfill.Continue) { *u = types.UID([]string{"", "0-1"}[c.Intn(2)]) },
		func(m *metav1.ObjectMeta, c randfill.Continue) {
			c.FillNoCustom(m)
			m.Name = "n"
		},
	)
	var kinds []schema.GroupVersionKind
	for kind := range scheme.AllKnownTypes() {
		if _, ok := must(scheme.New(kind)).(interface{ Marshal() ([]byte, error) }); ok {
			kinds = append(kinds, kind)
		}
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].String() < kinds[j].String() })
	encoder := protobuf.NewSerializer(scheme, scheme)
	out, err := zlib.NewWriterLevel(os.Stdout, zlib.BestCompression)
	check(err)
	defer out.Close()
	for _, kind := range kinds {
		object := must(scheme.New(kind))
		if unpublished[kind.Kind] || strings.HasSuffix(kind.Kind, "Options") && kind.Kind != "DeleteOptions" {
			continue
		}
		for range each {
			fill.Fill(object)
			tame(reflect.ValueOf(object))
			object.GetObjectKind().SetGroupVersionKind(kind)
			text, err := json.Marshal(object)
			check(err)
			body, err := runtime.Encode(encoder, object)
			check(err)
			fmt.Fprintf(out, "%s %s\n", hex.EncodeToString(body), text)
		}
	}
}

// Texts that the filler may choose from.
var texts = []string{"", "a", "bc", "x/y", "é"}

// tame replaces what the filler drew for types with names of their own (random text, random bytes) by short values, so
// that the outcome deflates well, and unset bytes in maps, which JSON has as null, by empty ones.
func tame(v reflect.Value) {
	switch v.Interface().(type) {
	case metav1.Time, metav1.MicroTime, resource.Quantity, intstr.IntOrString, metav1.FieldsV1, runtime.RawExtension,
		apiextensionsv1.JSON, metav1.TypeMeta:
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			tame(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				tame(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if v.Len() > 0 {
				v.SetBytes([]byte{0, 255, 7}[:min(3, v.Len())])
			}
			return
		}
		for i := range v.Len() {
			tame(v.Index(i))
		}
	case reflect.Map:
		tamed := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(v.MapIndex(key))
			tame(item)
			if item.Kind() == reflect.Slice && item.IsNil() {
				item.Set(reflect.MakeSlice(item.Type(), 0, 0))
			}
			name := reflect.New(v.Type().Key()).Elem()
			name.SetString(texts[len(key.String())%len(texts)])
			tamed.SetMapIndex(name, item)
		}
		if !v.IsNil() {
			v.Set(tamed)
		}
	case reflect.String:
		if !slices.Contains(texts, v.String()) && !strings.HasPrefix(v.String(), "n") {
			v.SetString(texts[len(v.String())%len(texts)])
		}
	}
}

func must(object runtime.Object, err error) runtime.Object {
	check(err)
	return object
}
