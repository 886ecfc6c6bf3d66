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
