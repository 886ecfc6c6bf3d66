{{/* The release's name, as the first part of all objects' names: at most 40 characters, so that suffixes fit into 63, without the
     dots that a release may have in its name and a Service may not, and beginning with a letter, as a Service's name must. */}}
{{- define "fvq.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $own := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full := .Values.fullnameOverride | default $own | replace "." "-" -}}
{{- ternary $full (printf "fvq-%s" $full) (regexMatch "^[a-z]" $full) | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which pods are selected: they never change. */}}
{{- define "fvq.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "fvq.labels" -}}
{{ include "fvq.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "fvq.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "fvq.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* An image's reference. root: the chart's scope; name: core or gpu. */}}
{{- define "fvq.image" -}}
{{- $image := index .root.Values.image .name -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* A value as text. Helm reads whole numbers as floats, and would write 1000000 as 1e+06, which is no whole number to the product. */}}
{{- define "fvq.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end -}}
{{- end -}}

{{/* Names of settings that a component does not get: those that it does not read, and whose secrets it therefore need not have. */}}
{{- define "fvq.without" -}}
{{- index (dict
  "worker" "^FVQ_(SERVE_|WEB_[TO]|WEB_USER_)"
  "scorer" "^FVQ_(BROKER$|KAFKA_|INFLUX_|DEEP_|WEB_|SCORER_URL$|SCORER_FALLBACK$)"
  "wall" "^FVQ_(SCORER_|DEEP_|SERVE_)"
  "rate" "^FVQ_(INFLUX_|SCORER_|DEEP_|SERVE_|WEB_)"
  "ingest" "^FVQ_(INFLUX_|SCORER_|DEEP_|SERVE_|WEB_)"
  "topics" "^FVQ_(INFLUX_|SCORER_|DEEP_|SERVE_|WEB_)"
) . -}}
{{- end -}}

{{/* Which of .Values.secrets a component gets, as YAML. root, component. */}}
{{- define "fvq.secretsOf" -}}
{{- $needed := dict -}}
{{- range $name, $place := .root.Values.secrets -}}
{{- if not (regexMatch (include "fvq.without" $.component) $name) }}{{- $_ := set $needed $name $place }}{{ end -}}
{{- end -}}
{{- toYaml $needed -}}
{{- end -}}

{{/* Settings of a component, as YAML: its own go before those of all, also where they are false, 0 or "", which Helm's `merge` takes for
     nothing. root, component. */}}
{{- define "fvq.settingsOf" -}}
{{- $settings := dict -}}
{{- range $part := list .root.Values.settings (index .root.Values .component | default dict).settings -}}
{{- range $name, $value := $part }}{{ $_ := set $settings $name $value }}{{ end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Environment of a component. root, component; set: settings that the chart decides. */}}
{{- define "fvq.environment" -}}
{{- $settings := fromYaml (include "fvq.settingsOf" .) -}}
{{- range $name, $value := .set }}{{ $_ := set $settings $name $value }}{{ end -}}
{{- range $name, $_ := fromYaml (include "fvq.secretsOf" .) }}
{{- $_ := set $settings $name (printf "/run/fvq/secrets/%s" $name) }}
{{- end }}
{{- range $name, $value := $settings }}
{{- if or (hasKey ($.set | default dict) $name) (not (regexMatch (include "fvq.without" $.component) $name)) }}
- {name: {{ $name }}, value: {{ include "fvq.text" $value | quote }}}
{{- end }}
{{- end }}
- {name: FVQ_DATA_DIR, value: /data}
- {name: HOME, value: /tmp}
{{- end -}}

{{/* Environment from whole Secrets. */}}
{{- define "fvq.environmentFrom" -}}
{{- with .Values.environmentSecrets }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Volumes of a component besides /data, and where they are mounted. root, component. */}}
{{- define "fvq.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
{{- with fromYaml (include "fvq.secretsOf" .) }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $place := . }}
      - secret:
          name: {{ $place.secret | quote }}
          items: [{key: {{ $place.key | quote }}, path: {{ $name }}}]
      {{- end }}
{{- end }}
{{- if and .root.Values.sharedVolume.existingClaim (ne .component "topics") }}
- name: shared
  persistentVolumeClaim: {claimName: {{ .root.Values.sharedVolume.existingClaim | quote }}}
{{- end }}
{{- end -}}

{{- define "fvq.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if fromYaml (include "fvq.secretsOf" .) }}
- {name: secrets, mountPath: /run/fvq/secrets, readOnly: true}
{{- end }}
{{- if and .root.Values.sharedVolume.existingClaim (ne .component "topics") }}
- {name: shared, mountPath: /shared}
{{- end }}
{{- end -}}

{{/* What every pod has: no token of Kubernetes, the images' user, no service links (each Service would add seven variables). */}}
{{- define "fvq.pod" -}}
serviceAccountName: {{ include "fvq.serviceAccount" . | quote }}
{{ include "fvq.podBase" . }}
{{- end -}}

{{- define "fvq.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where pods of a component may run. root, component. */}}
{{- define "fvq.placement" -}}
{{- $values := index .root.Values .component -}}
{{- with $values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with $values.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Pods of a component apart from each other: one node or zone that fails takes few of them. root, component. */}}
{{- define "fvq.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "fvq.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{- define "fvq.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where the workers find the scorer of every segment; empty: in their own process. */}}
{{- define "fvq.scorerAddress" -}}
{{- if and .Values.scorer.enabled (eq .Values.scorer.scores "all") -}}
http://{{ include "fvq.scorerService" . }}:8090
{{- else -}}
{{- include "fvq.ofWorkers" (dict "root" . "name" "FVQ_SCORER_URL") -}}
{{- end -}}
{{- end -}}

{{/* A setting as the workers get it from the values: their own, else that of all processes. root; name. */}}
{{- define "fvq.ofWorkers" -}}
{{- fromYaml (include "fvq.settingsOf" (dict "root" .root "component" "worker")) | dig .name "" -}}
{{- end -}}

{{/* The workers' image: gpu, which has torch, where another model than nano runs in their process, or on a GPU. */}}
{{- define "fvq.workerImage" -}}
{{- $settings := fromYaml (include "fvq.settingsOf" (dict "root" . "component" "worker")) -}}
{{- $own := $settings.FVQ_MODEL | default "nano" -}}
{{- if include "fvq.scorerAddress" . }}{{ $own = $settings.FVQ_SCORER_FALLBACK | default "nano" }}{{ end -}}
{{- if or (ne $own "nano") $settings.FVQ_SECOND_MODEL $settings.FVQ_DEEP_MODEL (eq ($settings.FVQ_DEVICE | default "auto") "cuda") }}gpu{{ else }}core{{ end -}}
{{- end -}}

{{- define "fvq.scorerService" -}}
{{- printf "%s-scorer%s" (include "fvq.fullname" .) (ternary "-serve-svc" "" (eq .Values.scorer.host "ray")) -}}
{{- end -}}

{{/* Series of this release's pods in Prometheus. root, component. */}}
{{- define "fvq.series" -}}
{{- printf "namespace=%q,pod=~\"%s-%s-.+\"" .root.Release.Namespace (include "fvq.fullname" .root) .component -}}
{{- end -}}

{{/* How fast a ScaledObject may scale: up when it lasts, down slowly. Without figures the number stays as it is: more pods do not
     help where Kafka or Prometheus is away, and fewer harm. fewest: replicas. */}}
{{- define "fvq.scaling" -}}
pollingInterval: 15
fallback:
  failureThreshold: 3
  replicas: {{ .fewest }}
  behavior: currentReplicasIfHigher
advanced:
  restoreToOriginalReplicaCount: false
  horizontalPodAutoscalerConfig:
    behavior:
      scaleUp:
        stabilizationWindowSeconds: 60
        policies: [{type: Percent, value: 100, periodSeconds: 60}]
      scaleDown:
        stabilizationWindowSeconds: 600
        policies: [{type: Percent, value: 25, periodSeconds: 120}]
{{- end -}}

{{/* The ingesters that run, by component, as YAML: their kind, and their list of sources. */}}
{{- define "fvq.ingesters" -}}
{{- $running := dict -}}
{{- $lists := dict "hls" .Values.ingest "dash" .Values.ingest.dash -}}
{{- range $kind, $component := dict "hls" "ingest" "dash" "ingest-dash" -}}
{{- $list := index $lists $kind -}}
{{- if $list.enabled }}{{- $_ := set $running $component (dict "kind" $kind "sources" $list.sources "existingSecret" $list.existingSecret) }}{{ end -}}
{{- end -}}
{{- toYaml $running -}}
{{- end -}}
