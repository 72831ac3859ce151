package main

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
)

func init() {
	scenarios["apply"] = applied
}

func applied(r *run) {
	maps := r.client.CoreV1().ConfigMaps(r.namespace)
	first, second := metav1.ApplyOptions{FieldManager: "first"}, metav1.ApplyOptions{FieldManager: "second"}
	config := coreapply.ConfigMap("a", r.namespace).WithData(map[string]string{"x": "1", "y": "1"})
	r.show("applied", got(maps.Apply(r, config, first)))
	again := got(maps.Apply(r, config, first))
	r.show("applied again", again)
	_, err := maps.Apply(r, coreapply.ConfigMap("a", r.namespace).WithData(map[string]string{"x": "2", "z": "2"}), second)
	r.refused("a conflict", err)
	forced := second
	forced.Force = true
	dry := forced
	dry.DryRun = []string{metav1.DryRunAll}
	r.show("dry", got(maps.Apply(r, coreapply.ConfigMap("a", r.namespace).WithData(map[string]string{"x": "2"}), dry)).Data)
	r.show("forced", got(maps.Apply(r, coreapply.ConfigMap("a", r.namespace).WithData(map[string]string{"x": "2", "z": "2"}), forced)))
	r.show("shared", got(maps.Apply(r, coreapply.ConfigMap("a", r.namespace).WithData(map[string]string{"y": "1"}), first)))
	r.show("given up", got(maps.Apply(r, coreapply.ConfigMap("a", r.namespace), first)))
	_, err = maps.Apply(r, coreapply.ConfigMap("a", r.namespace), metav1.ApplyOptions{})
	r.refused("no manager", err)
	_, err = maps.Apply(r, coreapply.ConfigMap("a", r.namespace).WithUID("00000000-0000-4000-8000-000000000000"), second)
	r.refused("another uid", err)
	_, err = maps.Apply(r, coreapply.ConfigMap("a", r.namespace).WithResourceVersion("1"), second)
	r.refused("an old revision", err)

	deployments := r.client.AppsV1().Deployments(r.namespace)
	container := func(image string) *coreapply.ContainerApplyConfiguration {
		return coreapply.Container().WithName("c").WithImage(image).
			WithEnv(coreapply.EnvVar().WithName("A").WithValue("1")).
			WithPorts(coreapply.ContainerPort().WithContainerPort(80))
	}
	desired := func(containers ...*coreapply.ContainerApplyConfiguration) *appsapply.DeploymentApplyConfiguration {
		return appsapply.Deployment("d", r.namespace).WithSpec(appsapply.DeploymentSpec().WithReplicas(1).
			WithSelector(metaapply.LabelSelector().WithMatchLabels(map[string]string{"app": "d"})).
			WithTemplate(coreapply.PodTemplateSpec().WithLabels(map[string]string{"app": "d"}).
				WithSpec(coreapply.PodSpec().WithContainers(containers...))))
	}
	r.show("deployment", got(deployments.Apply(r, desired(container("nginx:1")), first)))
	r.show("with a sidecar", got(deployments.Apply(r, appsapply.Deployment("d", r.namespace).WithSpec(appsapply.DeploymentSpec().
		WithTemplate(coreapply.PodTemplateSpec().WithSpec(coreapply.PodSpec().
			WithContainers(coreapply.Container().WithName("side").WithImage("side:1"))))), second)).Spec.Template.Spec.Containers)
	scaled := got(deployments.GetScale(r, "d", metav1.GetOptions{}))
	scaled.Spec.Replicas = 3
	got(deployments.UpdateScale(r, "d", scaled, metav1.UpdateOptions{FieldManager: "scaler"}))
	_, err = deployments.Apply(r, desired(container("nginx:2")), first)
	r.refused("who scaled owns the number", err)
	live := got(deployments.Get(r, "d", metav1.GetOptions{}))
	r.show("managers", live.ManagedFields)
	mine := got(appsapply.ExtractDeployment(live, "first"))
	r.show("extracted", mine)
	mine.Spec.Template.Spec.Containers[0].WithImage("nginx:3")
	mine.Spec.Replicas = nil
	r.show("read, changed, applied", got(deployments.Apply(r, mine, first)).Spec.Template.Spec.Containers)
	status := appsapply.Deployment("d", r.namespace).WithStatus(appsapply.DeploymentStatus().WithReadyReplicas(1).WithReplicas(1).
		WithConditions(appsapply.DeploymentCondition().WithType("Available").WithStatus(corev1.ConditionTrue).WithReason("Said").WithMessage("so")))
	r.show("status applied", got(deployments.ApplyStatus(r, status, first)))
	r.show("upgraded from an update", func() any {
		r.configMap("old", map[string]string{"a": "b"})
		got(maps.Patch(r, "old", types.MergePatchType, []byte(`{"data":{"k":"v"}}`), metav1.PatchOptions{FieldManager: "first"}))
		return got(maps.Apply(r, coreapply.ConfigMap("old", r.namespace).WithData(map[string]string{"k": "v"}), first))
	}())
	_, err = r.client.CoreV1().Services(r.namespace).Apply(r, coreapply.Service("s", r.namespace).WithSpec(coreapply.ServiceSpec().
		WithPorts(coreapply.ServicePort().WithPort(80), coreapply.ServicePort().WithPort(80))), first)
	r.refused("the same port twice", err)
}
