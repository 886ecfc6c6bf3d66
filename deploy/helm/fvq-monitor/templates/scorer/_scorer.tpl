{{/* Resources of a scorer, with its GPU. */}}
{{- define "fvq.scorerResources" -}}
{{- $resources := deepCopy .Values.scorer.resources -}}
{{- if eq .Values.scorer.device "cuda" -}}
{{- $_ := set $resources "limits" (merge (dict .Values.scorer.gpuResource 1) ($resources.limits | default dict)) -}}
{{- end -}}
{{- toJson $resources -}}
{{- end -}}

{{/* Seconds to end a scorer: the preStop sleep, 25 s for the requests in work and the process's end, and some more. */}}
{{- define "fvq.scorerGrace" -}}
{{- add (int .Values.scorer.drainSeconds) 35 -}}
{{- end -}}

{{/* Environment of Ray's pods. root, component; set. */}}
{{- define "fvq.rayEnvironment" -}}
{{ include "fvq.environment" . | trim }}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
{{- end -}}

{{- define "fvq.rayMounts" -}}
- {name: data, mountPath: /data}
- {name: memory, mountPath: /dev/shm}
{{ include "fvq.mounts" . }}
{{- end -}}

{{- define "fvq.rayVolumes" -}}
- name: data
  emptyDir: {}
# Ray's object store; a container's own /dev/shm has 64 MB.
- name: memory
  emptyDir: {medium: Memory, sizeLimit: 1Gi}
{{ include "fvq.volumes" . }}
{{- end -}}
