{{- /* What the schema cannot say: values that do not go together. All of them in one message. */ -}}
{{- define "resultity.validate" -}}
{{- $n := .Values.networkService -}}
{{- if not (and (hasKey .Values.operator "watchNodes") (hasKey $n "ingress")) -}}
{{- fail "\n  these are the values of an older chart: upgrade with --reset-then-reuse-values instead of --reuse-values" -}}
{{- end -}}
{{- $wrong := list -}}
{{- if and (gt (int .Values.operator.replicas) 1) (not .Values.operator.leaderElection) -}}
{{- $wrong = append $wrong "operator.leaderElection=false with more than one of operator.replicas: they would all write; set operator.replicas=1" -}}
{{- end -}}
{{- if and (or $n.ingress.enabled $n.gateway.enabled) (not $n.enabled) -}}
{{- $wrong = append $wrong "networkService.ingress and networkService.gateway lead to the network service: set networkService.enabled=true" -}}
{{- end -}}
{{- if and $n.ingress.enabled (not $n.ingress.host) -}}
{{- $wrong = append $wrong "networkService.ingress.enabled needs networkService.ingress.host: nodes sign the name under which they call" -}}
{{- end -}}
{{- if and $n.gateway.enabled (or (not $n.gateway.parentRefs) (not $n.gateway.hostnames)) -}}
{{- $wrong = append $wrong "networkService.gateway.enabled needs networkService.gateway.parentRefs and networkService.gateway.hostnames" -}}
{{- end -}}
{{- if and $n.modelsVolume $n.modelsImage -}}
{{- $wrong = append $wrong "networkService.modelsVolume and networkService.modelsImage: give one of them" -}}
{{- end -}}
{{- if and $n.storage.storageClassName (not $n.storage.size) -}}
{{- $wrong = append $wrong "networkService.storage.storageClassName without networkService.storage.size: the ledger would lie in the pod and be lost with it" -}}
{{- end -}}
{{- if $wrong }}{{ fail (printf "\n  %s" (join "\n  " $wrong)) }}{{ end -}}
{{- end -}}
