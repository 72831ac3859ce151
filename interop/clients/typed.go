package main

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/ptr"
)

func init() {
	scenarios["typed-protobuf"] = func(r *run) { typed(r, kubernetes.NewForConfigOrDie(r.protobuf())) }
	scenarios["typed-json"] = func(r *run) { typed(r, kubernetes.NewForConfigOrDie(r.config)) }
	scenarios["dynamic"] = dynamically
	scenarios["metadata"] = metadataOnly
}

// served is what the typed client of each kind has.
type served[T any, L any] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Get(context.Context, string, metav1.GetOptions) (T, error)
	List(context.Context, metav1.ListOptions) (L, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// crud does with one kind what clients do with every kind.
func crud[T metav1.Object, L any](r *run, kind string, client served[T, L], object T) {
	object.SetName("a")
	object.SetLabels(map[string]string{"clients": "yes"})
	dry := got(client.Create(r, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}))
	r.say("%s dry run %q", kind, dry.GetName())
	r.show(kind+" created", got(client.Create(r, object, metav1.CreateOptions{FieldManager: "typed"})))
	_, err := client.Create(r, object, metav1.CreateOptions{})
	r.refused(kind+" created again", err)
	read := got(client.Get(r, "a", metav1.GetOptions{}))
	read.SetAnnotations(map[string]string{"note": "updated"})
	updated := got(client.Update(r, read, metav1.UpdateOptions{}))
	r.show(kind+" updated", updated)
	_, err = client.Update(r, read, metav1.UpdateOptions{})
	r.refused(kind+" updated with an old revision", err)
	same := got(client.Update(r, updated, metav1.UpdateOptions{}))
	r.say("%s updated with the same: revision stays %v", kind, same.GetResourceVersion() == updated.GetResourceVersion())
	for _, patch := range []types.PatchType{types.MergePatchType, types.StrategicMergePatchType} {
		body := []byte(`{"metadata":{"labels":{"patched":"` + map[types.PatchType]string{types.MergePatchType: "merge"}[patch] + `"}}}`)
		r.show(kind+" patched", got(client.Patch(r, "a", patch, body, metav1.PatchOptions{})).GetLabels())
	}
	body := []byte(`[{"op":"test","path":"/metadata/name","value":"a"},{"op":"remove","path":"/metadata/annotations"}]`)
	r.show(kind+" patched", got(client.Patch(r, "a", types.JSONPatchType, body, metav1.PatchOptions{})).GetAnnotations())
	r.show(kind+" listed", got(client.List(r, metav1.ListOptions{LabelSelector: "clients=yes"})))
	other := types.UID("00000000-0000-4000-8000-000000000000")
	r.refused(kind+" deleted with another uid", client.Delete(r, "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}))
	must(client.Delete(r, "a", metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}))
	r.until(kind+" is gone", func() bool {
		_, err = client.Get(r, "a", metav1.GetOptions{})
		return err != nil
	})
	r.refused(kind+" after it was deleted", err)
}

func template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "a"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "nginx:1.27", Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("0.5"), "memory": resource.MustParse("1024Mi")}},
		}}},
	}
}

func deployment() *appsv1.Deployment {
	return &appsv1.Deployment{Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}, Template: template()}}
}

func typed(r *run, c kubernetes.Interface) {
	n := r.namespace
	crud(r, "ConfigMap", c.CoreV1().ConfigMaps(n), &corev1.ConfigMap{Data: map[string]string{"k": "v"}, BinaryData: map[string][]byte{"b": {0, 255}}})
	crud(r, "Secret", c.CoreV1().Secrets(n), &corev1.Secret{Data: map[string][]byte{"k": []byte("v")}, StringData: map[string]string{"s": "t"}})
	crud(r, "Service", c.CoreV1().Services(n), &corev1.Service{Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "a"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("web")}}}})
	crud(r, "PersistentVolumeClaim", c.CoreV1().PersistentVolumeClaims(n), &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To("none"),
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("1Gi")}}}})
	crud(r, "Deployment", c.AppsV1().Deployments(n), deployment())
	crud(r, "StatefulSet", c.AppsV1().StatefulSets(n), &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{
		ServiceName: "a", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}, Template: template()}})
	job := template()
	job.Spec.RestartPolicy = corev1.RestartPolicyNever
	crud(r, "CronJob", c.BatchV1().CronJobs(n), &batchv1.CronJob{Spec: batchv1.CronJobSpec{
		Schedule: "*/5 * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: job}}}})
	crud(r, "Ingress", c.NetworkingV1().Ingresses(n), &networkingv1.Ingress{Spec: networkingv1.IngressSpec{
		DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "a", Port: networkingv1.ServiceBackendPort{Number: 80}}}}})
	crud(r, "PodDisruptionBudget", c.PolicyV1().PodDisruptionBudgets(n), &policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: ptr.To(intstr.FromString("25%")), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}}})
	crud(r, "HorizontalPodAutoscaler", c.AutoscalingV2().HorizontalPodAutoscalers(n), &autoscalingv2.HorizontalPodAutoscaler{Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "a"}, MaxReplicas: 3}})
	crud(r, "Role", c.RbacV1().Roles(n), &rbacv1.Role{Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}}})
	crud(r, "RoleBinding", c.RbacV1().RoleBindings(n), &rbacv1.RoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "a"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default"}}})

	// Subresources: status and scale, each changing only its part.
	made := got(c.AppsV1().Deployments(n).Create(r, named(deployment(), "sub"), metav1.CreateOptions{}))
	made.Status.Replicas, made.Status.ReadyReplicas, made.Spec.Replicas = 2, 1, ptr.To(int32(9))
	made = got(c.AppsV1().Deployments(n).UpdateStatus(r, made, metav1.UpdateOptions{}))
	r.say("status written: %d of %d ready, %d wanted, generation %d", made.Status.ReadyReplicas, made.Status.Replicas, *made.Spec.Replicas, made.Generation)
	scale := got(c.AppsV1().Deployments(n).GetScale(r, "sub", metav1.GetOptions{}))
	r.show("scale", scale)
	scale.Spec.Replicas = 5
	r.show("scaled", got(c.AppsV1().Deployments(n).UpdateScale(r, "sub", scale, metav1.UpdateOptions{})))
	made = got(c.AppsV1().Deployments(n).Get(r, "sub", metav1.GetOptions{}))
	r.say("after scaling: %d wanted, generation %d", *made.Spec.Replicas, made.Generation)
	made.Spec.Selector.MatchLabels["app"] = "b"
	_, err := c.AppsV1().Deployments(n).Update(r, made, metav1.UpdateOptions{})
	r.refused("selector changed", err)
	_, err = c.CoreV1().ConfigMaps(n).Create(r, named(&corev1.ConfigMap{}, "Not_A_Name"), metav1.CreateOptions{})
	r.refused("bad name", err)
	_, err = c.CoreV1().ConfigMaps("nowhere").Create(r, named(&corev1.ConfigMap{}, "a"), metav1.CreateOptions{})
	r.refused("no such namespace", err)
}

func named[T metav1.Object](object T, name string) T {
	object.SetName(name)
	return object
}

func dynamically(r *run) {
	client := dynamic.NewForConfigOrDie(r.config)
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(r.namespace)
	deployments := client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(r.namespace)
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}, "data": map[string]any{"k": "v"}}}
	r.show("created", got(maps.Create(r, object, metav1.CreateOptions{})))
	read := got(maps.Get(r, "a", metav1.GetOptions{}))
	must(unstructured.SetNestedField(read.Object, "w", "data", "k"))
	r.show("updated", got(maps.Update(r, read, metav1.UpdateOptions{FieldManager: "dynamic"})))
	object.SetName("b")
	object.SetManagedFields(nil)
	r.show("applied", got(maps.Apply(r, "b", object, metav1.ApplyOptions{FieldManager: "applier"})))
	r.show("listed", got(maps.List(r, metav1.ListOptions{FieldSelector: fields.OneTermNotEqualSelector("metadata.name", "kube-root-ca.crt").String()})))
	_, err := maps.List(r, metav1.ListOptions{FieldSelector: "data.k=v"})
	r.refused("unknown field selector", err)
	unknown := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c"}, "dataa": map[string]any{"k": "v"}}}
	_, err = maps.Create(r, unknown, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	r.refused("unknown field", err)
	wrong := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "c"}}}
	_, err = maps.Create(r, wrong, metav1.CreateOptions{})
	r.refused("wrong kind", err)
	bad := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"replicas": "many"}}}
	_, err = deployments.Create(r, bad, metav1.CreateOptions{})
	r.refused("wrong type", err)
	bad.Object["spec"] = map[string]any{}
	_, err = deployments.Create(r, bad, metav1.CreateOptions{})
	r.refused("nothing required is there", err)
	_, err = client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "gadgets"}).List(r, metav1.ListOptions{})
	r.refused("unknown resource", err)
	watch := got(maps.Watch(r, metav1.ListOptions{FieldSelector: "metadata.name=a", ResourceVersion: read.GetResourceVersion()}))
	event := <-watch.ResultChan()
	r.show("watched "+string(event.Type), event.Object)
	watch.Stop()
	must(maps.DeleteCollection(r, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=a"}))
	_, err = maps.Get(r, "a", metav1.GetOptions{})
	r.refused("deleted", err)
}

func metadataOnly(r *run) {
	client := metadata.NewForConfigOrDie(metadata.ConfigFor(r.config))
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(r.namespace)
	made := got(r.client.CoreV1().ConfigMaps(r.namespace).Create(r, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"x": "y"}}, Data: map[string]string{"k": "v"}}, metav1.CreateOptions{FieldManager: "typed"}))
	r.show("read", got(maps.Get(r, "a", metav1.GetOptions{})))
	r.show("listed", got(maps.List(r, metav1.ListOptions{LabelSelector: "x=y"})))
	watch := got(maps.Watch(r, metav1.ListOptions{LabelSelector: "x=y", ResourceVersion: made.ResourceVersion}))
	r.show("patched", got(maps.Patch(r, "a", types.MergePatchType, []byte(`{"metadata":{"annotations":{"n":"1"}}}`), metav1.PatchOptions{FieldManager: "metadata"})))
	event := <-watch.ResultChan()
	r.show("watched "+string(event.Type), event.Object)
	kept := got(r.client.CoreV1().ConfigMaps(r.namespace).Get(r, "a", metav1.GetOptions{}))
	r.show("data stays", kept.Data)
	must(maps.Delete(r, "a", metav1.DeleteOptions{}))
	event = <-watch.ResultChan()
	r.show("watched "+string(event.Type), event.Object)
	watch.Stop()
	_, err := maps.Get(r, "a", metav1.GetOptions{})
	r.refused("deleted", err)
}
