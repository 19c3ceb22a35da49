// The yardstick of `npm run bench -- --only peer`: a plain controller-runtime controller. Each Stamp gets one ConfigMap of
// its name that carries spec.stamp, and one status write. ../ours.ts does the same with src/kube.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

const manager = "stamps"

var kind = schema.GroupVersionKind{Group: "bench.resultity.com", Version: "v1", Kind: "Stamp"}

type reconciler struct {
	client.Client
	// update: CreateOrUpdate and Status().Update, as most Go controllers write; otherwise server-side apply, as ours does.
	update bool
}

func newStamp() *unstructured.Unstructured {
	s := &unstructured.Unstructured{}
	s.SetGroupVersionKind(kind)
	return s
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	stamp := newStamp()
	if err := r.Get(ctx, req.NamespacedName, stamp); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	wanted, _, _ := unstructured.NestedString(stamp.Object, "spec", "stamp")
	child := &corev1.ConfigMap{}
	err := r.Get(ctx, req.NamespacedName, child)
	if err != nil && !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	if err != nil || child.Data["stamp"] != wanted {
		if err := r.writeChild(ctx, stamp, wanted); err != nil {
			return ctrl.Result{}, err
		}
	}
	if seen, _, _ := unstructured.NestedString(stamp.Object, "status", "stamp"); seen == wanted {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.writeStatus(ctx, stamp, wanted)
}

func (r *reconciler) writeChild(ctx context.Context, stamp *unstructured.Unstructured, wanted string) error {
	if r.update {
		child := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: stamp.GetName(), Namespace: stamp.GetNamespace()}}
		_, err := controllerutil.CreateOrUpdate(ctx, r.Client, child, func() error {
			child.Labels = map[string]string{"bench": manager}
			child.Data = map[string]string{"stamp": wanted}
			return controllerutil.SetControllerReference(stamp, child, r.Scheme())
		})
		return err
	}
	owner := applymeta.OwnerReference().WithAPIVersion(kind.GroupVersion().String()).WithKind(kind.Kind).
		WithName(stamp.GetName()).WithUID(stamp.GetUID()).WithController(true).WithBlockOwnerDeletion(true)
	child := applycore.ConfigMap(stamp.GetName(), stamp.GetNamespace()).WithOwnerReferences(owner).
		WithLabels(map[string]string{"bench": manager}).WithData(map[string]string{"stamp": wanted})
	return r.Apply(ctx, child, client.FieldOwner(manager), client.ForceOwnership)
}

func (r *reconciler) writeStatus(ctx context.Context, stamp *unstructured.Unstructured, wanted string) error {
	status := stamp.DeepCopy()
	if !r.update {
		status = newStamp()
		status.SetName(stamp.GetName())
		status.SetNamespace(stamp.GetNamespace())
	}
	if err := unstructured.SetNestedField(status.Object, wanted, "status", "stamp"); err != nil {
		return err
	}
	if r.update {
		return r.Status().Update(ctx, status)
	}
	return r.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(status), client.FieldOwner(manager), client.ForceOwnership)
}

func run() error {
	kubeconfig := flag.String("config", "", "path of a kubeconfig")
	namespace := flag.String("namespace", "", "the only namespace to watch")
	workers := flag.Int("workers", 1, "concurrent reconciles")
	writes := flag.String("writes", "apply", "apply or update")
	flag.Parse()
	log.SetLogger(logr.Discard()) // ../ours.ts says nothing either
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit on our side; ../ours.ts has none either
	owned := labels.SelectorFromSet(labels.Set{"bench": manager})
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Metrics: server.Options{BindAddress: "0"},
		Client:  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{*namespace: {}},
			ByObject:          map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {Label: owned}},
		},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(mgr).Named(manager).
		For(newStamp(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: *workers}).
		Complete(&reconciler{Client: mgr.GetClient(), update: *writes == "update"})
	if err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "the peer ended:", err)
		os.Exit(1)
	}
}
