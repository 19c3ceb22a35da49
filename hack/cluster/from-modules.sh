#!/usr/bin/env bash
# Builds the Kubernetes binaries from the Go module proxy, for machines that reach no release server.
# usage: from-modules.sh NAME VERSION OUT_DIR [PROGRAM]
# NAME: kubernetes (apiserver, controller-manager, scheduler, kubelet, kube-proxy, kubectl, the sample device plug-in, the DRA test driver), etcd, helm, kwok, registry, coredns, pause, helm-unittest, kube-score
# PROGRAM: of kubernetes, build only this one (a test that needs the API server does not wait for the kubelet).
# Each program is renamed into OUT_DIR when it is whole, so a killed build leaves nothing that looks finished.
set -euo pipefail
name=$1 version=$2 out=$(realpath -m "$3") only=${4:-}
command -v go >/dev/null || { echo "from-modules: needs Go 1.26 or later on the PATH (https://go.dev/dl)" >&2; exit 1; }
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p "$out"; cd "$work"
export CGO_ENABLED=0 GOFLAGS=-mod=mod
build() { # program package ldflags
  go build -trimpath -ldflags "-s -w ${3:-}" -o "$out/.$1.tmp" "$2"
  mv "$out/.$1.tmp" "$out/$1"; echo "built $1 $version"
}
case $name in
kubernetes)
  go mod download "k8s.io/kubernetes@v$version"
  src=$(go env GOMODCACHE)/k8s.io/kubernetes@v$version
  # Its go.mod points every staging module at a relative folder; their published twins are v0.<minor>.<patch>.
  sed -e 's#^module .*#module dev-cluster#' -e "s#=> ./staging/src/\(k8s.io/[a-z0-9-]*\)#=> \1 v0.${version#1.}#" "$src/go.mod" > go.mod
  cp "$src/go.sum" go.sum; chmod u+w go.mod go.sum
  go mod edit -require="k8s.io/kubernetes@v$version"
  programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl sample-device-plugin dra-test-driver"
  package() {
    case $1 in
    sample-device-plugin) echo k8s.io/kubernetes/test/images/sample-device-plugin ;;
    dra-test-driver) echo k8s.io/kubernetes/test/e2e/dra/test-driver ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
    esac
  }
  [ -z "$only" ] || programs=$only
  { echo '//go:build tools'; echo 'package tools'; echo 'import ('
    for p in $programs; do echo "  _ \"$(package "$p")\""; done; echo ')'; } > tools.go
  go mod tidy
  minor=${version#1.}
  v=k8s.io/component-base/version
  for p in $programs; do
    [ -x "$out/$p" ] || build "$p" "$(package "$p")" "-X $v.gitVersion=v$version -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*}"
  done ;;
etcd)
  printf 'module etcd-dev\ngo 1.26.0\nrequire go.etcd.io/etcd/server/v3 v%s\n' "$version" > go.mod
  printf 'package main\n\nimport (\n\t"os"\n\n\t"go.etcd.io/etcd/server/v3/etcdmain"\n)\n\nfunc main() { etcdmain.Main(os.Args) }\n' > main.go
  go mod tidy; build etcd . ;;
pause)
  # PID 1 of every pod sandbox: waits for a signal and reaps what it inherits.
  printf 'module pause\ngo 1.26.0\n' > go.mod
  cat > main.go <<'GO'
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range c {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
	}
	os.Exit(0)
}
GO
  build pause . ;;
coredns)
  # Only the plug-ins of our Corefile: all of them pull in the libraries of every cloud and take three times as long.
  printf 'module coredns-dev\ngo 1.26.0\n' > go.mod
  { echo 'package main'; echo 'import ('
    echo '  "github.com/coredns/coredns/coremain"'
    for p in bind cache errors kubernetes; do echo "  _ \"github.com/coredns/coredns/plugin/$p\""; done
    echo ')'; echo 'func main() { coremain.Run() }'; } > main.go
  go get "github.com/coredns/coredns@v$version"; go mod tidy
  build coredns . ;;
helm | kwok | registry | helm-unittest | kube-score)
  case $name in
    helm) module=helm.sh/helm/v4 package=cmd/helm v=helm.sh/helm/v4/internal/version ld="-X $v.version=v$version" ;;
    kwok) module=sigs.k8s.io/kwok package=cmd/kwok ld="-X sigs.k8s.io/kwok/pkg/consts.Version=v$version" ;;
    registry) module=github.com/distribution/distribution/v3 package=cmd/registry ld="" ;;
    helm-unittest)
      module=github.com/helm-unittest/helm-unittest package=cmd/helm-unittest ld=""
      replace=github.com/vmware-labs/yaml-jsonpath=github.com/helm-unittest/yaml-jsonpath@v0.4.0 ;; # as its go.mod
    kube-score) module=github.com/zegl/kube-score package=cmd/kube-score ld="" ;;
  esac
  printf 'module tool\ngo 1.26.0\n' > go.mod
  [ -z "${replace:-}" ] || go mod edit -replace "$replace"
  go get "$module/$package@v$version" 2>/dev/null || go get "$module@v$version"
  build "$name" "$module/$package" "$ld" ;;
*) echo "from-modules: unknown program $name" >&2; exit 2 ;;
esac
