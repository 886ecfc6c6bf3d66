{{/* A rule of egress: to, ports, protocol (TCP). */}}
{{- define "fvq.egress" -}}
- ports:
    {{- $protocol := .protocol | default "TCP" }}
    {{- range .ports }}
    - {protocol: {{ $protocol }}, port: {{ int . }}}
    {{- end }}
  {{- with .to }}
  to: {{ toJson . }}
  {{- end }}
{{- end -}}

{{/* The same, where no destination means the Internet: not the cluster, nor a cloud's metadata at 169.254.169.254. */}}
{{- define "fvq.webEgress" -}}
{{- $public := list
  (dict "ipBlock" (dict "cidr" "0.0.0.0/0" "except" (list "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12" "192.168.0.0/16" "224.0.0.0/3")))
  (dict "ipBlock" (dict "cidr" "2000::/3")) -}}
{{- include "fvq.egress" (dict "ports" .ports "to" (.to | default $public)) -}}
{{- end -}}

{{- define "fvq.rayPods" -}}
{{- $labels := fromYaml (include "fvq.selector" .) -}}
{{- toJson (set $labels "app.kubernetes.io/component" "scorer") -}}
{{- end -}}
