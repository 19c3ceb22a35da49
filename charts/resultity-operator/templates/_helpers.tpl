{{- define "resultity.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- define "resultity.labels" -}}
app.kubernetes.io/name: resultity-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: resultity
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
{{- define "resultity.selector" -}}
app.kubernetes.io/name: resultity-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- /* Of pods: nothing that a new version of the chart changes, or an upgrade would restart them for a label. */ -}}
{{- define "resultity.podLabels" -}}
{{ include "resultity.selector" . }}
app.kubernetes.io/part-of: resultity
{{- end -}}
{{- define "resultity.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- define "resultity.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}
{{- define "resultity.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}
{{- define "resultity.network.host" -}}
{{ include "resultity.name" . }}-network.{{ .Release.Namespace }}.svc
{{- end -}}
{{- /* Whether the admission policy of a name is wanted. A name that old values do not have is: `helm upgrade --reuse-values`. */ -}}
{{- define "resultity.policy" -}}
{{- $root := index . 0 }}{{- $policies := $root.Values.admissionPolicies -}}
{{- if and $policies.enabled (ne (toString (get $policies (index . 1))) "false") -}}true{{- end -}}
{{- end -}}
{{- /* The operator's account, as the API server calls it. */ -}}
{{- define "resultity.account" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "resultity.name" . }}
{{- end -}}
{{- /* Two installations that watch a namespace each do not judge each other's objects. */ -}}
{{- define "resultity.policyNamespaces" -}}
{{- with .Values.watchNamespace }}
namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ . }} } }
{{- end }}
{{- end -}}
{{- define "resultity.policyBinding" -}}
{{- $root := index . 0 }}{{- $name := printf "%s-%s" (include "resultity.name" $root) (index . 1) -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels: {{- include "resultity.labels" $root | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end -}}
{{- /* The names by which nodes call the network service, one a line. */ -}}
{{- define "resultity.network.authorities" -}}
{{- $n := .Values.networkService -}}
{{- $names := $n.authorities | default (list (printf "%s:%v" (include "resultity.network.host" .) $n.port)) -}}
{{- if $n.ingress.enabled }}{{ $names = append $names $n.ingress.host }}{{ end -}}
{{- if $n.gateway.enabled }}{{ $names = concat $names $n.gateway.hostnames }}{{ end -}}
{{- join "\n" (uniq $names) -}}
{{- end -}}
{{- /* As JSON. A proxy is one address for all its peers. */ -}}
{{- define "resultity.network.limits" -}}
{{- $n := .Values.networkService -}}
{{- $lifted := dict -}}
{{- if or $n.ingress.enabled $n.gateway.enabled -}}
{{- $lifted = dict "connectionsPerAddress" 40000 "socketsPerAddress" 20000 "anyPerAddress" 1000000 "callsPerAddress" 1000000 "registrationsPerAddress" 10000 "statusPerAddress" 1000000 -}}
{{- end -}}
{{- with merge dict $n.limits $lifted }}{{ toJson . }}{{ end -}}
{{- end -}}
