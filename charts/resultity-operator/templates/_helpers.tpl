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
