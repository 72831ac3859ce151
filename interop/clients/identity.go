package main

import (
	"fmt"
	"sort"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

func init() {
	scenarios["impersonation"] = impersonated
	scenarios["tokens"] = tokened
	scenarios["access-reviews"] = reviewed
}

// may gives a user the right to read and list ConfigMaps of the scenario's namespace.
func (r *run) may(subject rbacv1.Subject) {
	got(r.client.RbacV1().Roles(r.namespace).Create(r, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}}}}, metav1.CreateOptions{}))
	got(r.client.RbacV1().RoleBindings(r.namespace).Create(r, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"}, Subjects: []rbacv1.Subject{subject},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"}}, metav1.CreateOptions{}))
}

// tries says what a client may do and who it is told to be.
func (r *run) tries(client kubernetes.Interface) {
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(r, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	r.refused("who am I", err)
	if err == nil {
		for key := range review.Status.UserInfo.Extra {
			if key == "authentication.kubernetes.io/credential-id" {
				delete(review.Status.UserInfo.Extra, key)
			}
		}
		r.show("I am", review.Status)
	}
	maps := client.CoreV1().ConfigMaps(r.namespace)
	_, err = maps.Get(r, "a", metav1.GetOptions{})
	r.refused("get", err)
	_, err = maps.List(r, metav1.ListOptions{})
	r.refused("list", err)
	r.refused("delete", maps.Delete(r, "a", metav1.DeleteOptions{}))
	_, err = client.CoreV1().Secrets(r.namespace).List(r, metav1.ListOptions{})
	r.refused("list secrets", err)
	_, err = client.CoreV1().Nodes().List(r, metav1.ListOptions{})
	r.refused("list nodes", err)
}

func impersonated(r *run) {
	r.configMap("a", nil)
	r.may(rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "readers"})
	as := func(user rest.ImpersonationConfig) kubernetes.Interface {
		config := r.protobuf()
		config.Impersonate = user
		return kubernetes.NewForConfigOrDie(config)
	}
	jane := as(rest.ImpersonationConfig{UserName: "jane", Groups: []string{"readers"}, Extra: map[string][]string{"scopes": {"view", "edit"}}, UID: "7"})
	r.until("the binding works", func() bool {
		_, err := jane.CoreV1().ConfigMaps(r.namespace).Get(r, "a", metav1.GetOptions{})
		return err == nil
	})
	r.tries(jane)
	r.tries(as(rest.ImpersonationConfig{UserName: "joe"}))
	r.tries(as(rest.ImpersonationConfig{UserName: "system:anonymous"}))
	_, err := as(rest.ImpersonationConfig{Groups: []string{"readers"}}).CoreV1().Nodes().List(r, metav1.ListOptions{})
	r.refused("groups without a user", err)
}

func tokened(r *run) {
	r.configMap("a", nil)
	accounts := r.client.CoreV1().ServiceAccounts(r.namespace)
	account := got(accounts.Create(r, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}))
	r.may(rbacv1.Subject{Kind: "ServiceAccount", Namespace: r.namespace, Name: "robot"})
	token := got(accounts.CreateToken(r, account.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(3600))}}, metav1.CreateOptions{}))
	r.say("token for %q, %d s, bound to %v", token.Spec.Audiences, *token.Spec.ExpirationSeconds, token.Spec.BoundObjectRef)
	with := func(token string) kubernetes.Interface {
		config := rest.AnonymousClientConfig(r.protobuf())
		config.BearerToken = token
		return kubernetes.NewForConfigOrDie(config)
	}
	robot := with(token.Status.Token)
	r.until("the binding works", func() bool {
		_, err := robot.CoreV1().ConfigMaps(r.namespace).Get(r, "a", metav1.GetOptions{})
		return err == nil
	})
	r.tries(robot)
	review := got(r.client.AuthenticationV1().TokenReviews().Create(r, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token}}, metav1.CreateOptions{})).Status
	r.say("reviewed: %v %s %q", review.Authenticated, review.User.Username, review.User.Groups)
	review = got(r.client.AuthenticationV1().TokenReviews().Create(r, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token, Audiences: []string{"elsewhere"}}}, metav1.CreateOptions{})).Status
	r.say("reviewed for elsewhere: %v, error %v", review.Authenticated, review.Error != "")
	_, err := accounts.CreateToken(r, account.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(5))}}, metav1.CreateOptions{})
	r.refused("a token for five seconds", err)
	r.tries(with("nonsense"))

	secret := got(r.client.CoreV1().Secrets(r.namespace).Create(r, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "robot-token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}},
		Type:       corev1.SecretTypeServiceAccountToken}, metav1.CreateOptions{}))
	r.until("the Secret has its token", func() bool {
		secret = got(r.client.CoreV1().Secrets(r.namespace).Get(r, "robot-token", metav1.GetOptions{}))
		return len(secret.Data["token"]) > 0
	})
	_, err = with(string(secret.Data["token"])).CoreV1().ConfigMaps(r.namespace).Get(r, "a", metav1.GetOptions{})
	r.refused("get with the token of the Secret", err)
	must(accounts.Delete(r, "robot", metav1.DeleteOptions{}))
	r.until("the token is worth nothing", func() bool {
		_, err = robot.CoreV1().ConfigMaps(r.namespace).Get(r, "a", metav1.GetOptions{})
		return err != nil
	})
	r.refused("after the account was deleted", err)
}

func reviewed(r *run) {
	r.may(rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: "jane"})
	asked := func(user, verb, resource, subresource, namespace string) *authorizationv1.SubjectAccessReview {
		return got(r.client.AuthorizationV1().SubjectAccessReviews().Create(r, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Resource: resource, Subresource: subresource}}}, metav1.CreateOptions{}))
	}
	r.until("the binding works", func() bool { return asked("jane", "get", "configmaps", "", r.namespace).Status.Allowed })
	r.show("jane gets", asked("jane", "get", "configmaps", "", r.namespace))
	r.show("jane deletes", asked("jane", "delete", "configmaps", "", r.namespace).Status)
	r.show("jane elsewhere", asked("jane", "get", "configmaps", "", "default").Status)
	r.show("joe", asked("joe", "get", "configmaps", "", r.namespace).Status)
	r.show("local", got(r.client.AuthorizationV1().LocalSubjectAccessReviews(r.namespace).Create(r, &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace},
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "jane", ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.namespace, Verb: "list", Resource: "configmaps"}}}, metav1.CreateOptions{})).Status)
	r.say("path: %v", got(r.client.AuthorizationV1().SubjectAccessReviews().Create(r, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "jane", Groups: []string{"system:authenticated"},
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/healthz", Verb: "get"}}}, metav1.CreateOptions{})).Status.Allowed)
	config := r.protobuf()
	config.Impersonate = rest.ImpersonationConfig{UserName: "jane"}
	jane := kubernetes.NewForConfigOrDie(config)
	r.show("self", got(jane.AuthorizationV1().SelfSubjectAccessReviews().Create(r, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.namespace, Verb: "get", Resource: "configmaps"}}}, metav1.CreateOptions{})).Status)
	rules := got(jane.AuthorizationV1().SelfSubjectRulesReviews().Create(r, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: r.namespace}}, metav1.CreateOptions{})).Status
	// In which order the bindings are found is chance.
	sort.Slice(rules.ResourceRules, func(a, b int) bool { return fmt.Sprint(rules.ResourceRules[a]) < fmt.Sprint(rules.ResourceRules[b]) })
	sort.Slice(rules.NonResourceRules, func(a, b int) bool {
		return fmt.Sprint(rules.NonResourceRules[a]) < fmt.Sprint(rules.NonResourceRules[b])
	})
	r.show("rules", rules)
	_, err := r.client.AuthorizationV1().SubjectAccessReviews().Create(r, &authorizationv1.SubjectAccessReview{}, metav1.CreateOptions{})
	r.refused("nothing is asked", err)
}
