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

{{/* Fails where an address has a port that its rule does not open: nothing else would say why nobody answers. policy: name of the rule,
     ports; setting: name of the setting, addresses. */}}
{{- define "fvq.checkPorts" -}}
{{- $open := list -}}
{{- range .ports }}{{ $open = append $open (toString (int .)) }}{{ end -}}
{{- range $part := splitList "," (.addresses | default "") -}}
{{- $address := trim $part -}}
{{- $port := regexFind ":[0-9]+(/|$)" $address | trimPrefix ":" | trimSuffix "/" -}}
{{- $usual := ternary "443" (ternary "80" "9092" (hasPrefix "http:" $address)) (hasPrefix "https:" $address) -}}
{{- if and $address (not (has ($port | default $usual) $open)) -}}
{{- fail (printf "%s has the port %s, which networkPolicy.%s.ports does not open: it has %s" $.setting ($port | default $usual) $.policy (join ", " $open)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The same, where no destination means the Internet: not the cluster, nor a cloud's metadata at 169.254.169.254. */}}
{{- define "fvq.webEgress" -}}
{{- $public := list
  (dict "ipBlock" (dict "cidr" "0.0.0.0/0" "except" (list "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12" "192.168.0.0/16" "224.0.0.0/3")))
  (dict "ipBlock" (dict "cidr" "2000::/3")) -}}
{{- include "fvq.egress" (dict "ports" .ports "to" (.to | default $public)) -}}
{{- end -}}

{{/* Ray's pods, head and workers, as peers. */}}
{{- define "fvq.rayPeers" -}}
{{- $expression := dict "key" "app.kubernetes.io/component" "operator" "In" "values" (list "scorer" "scorer-head") -}}
{{- $selector := dict "matchLabels" (fromYaml (include "fvq.selector" .)) "matchExpressions" (list $expression) -}}
{{- toJson (list (dict "podSelector" $selector)) -}}
{{- end -}}
