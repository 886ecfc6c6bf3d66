{{/* Values that contradict each other: what a schema cannot say. */}}
{{- define "fvq.check" -}}
{{- $running := dict "settings" .Values.settings -}}
{{- range $component := list "worker" "scorer" "wall" "ingest" "rate" -}}
{{- $values := index $.Values $component -}}
{{- if or (eq $component "worker") $values.enabled (and (eq $component "ingest") $values.dash.enabled) -}}
{{- $_ := set $running (printf "%s.settings" $component) $values.settings -}}
{{- end -}}
{{- end -}}
{{- $scaling := .Values.worker.autoscaling -}}
{{- $most := ternary $scaling.maxReplicas .Values.worker.replicas $scaling.enabled -}}
{{- if gt (int $most) (int .Values.topics.partitions) -}}
{{- fail (printf "%s is %v and topics.partitions %v: a worker beyond the partitions gets none and is never ready" (ternary "worker.autoscaling.maxReplicas" "worker.replicas" $scaling.enabled) $most .Values.topics.partitions) -}}
{{- end -}}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "worker.autoscaling.minReplicas is %v, over maxReplicas %v" $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- if and .Values.scorer.enabled .Values.scorer.autoscaling.enabled (gt (int .Values.scorer.autoscaling.minReplicas) (int .Values.scorer.autoscaling.maxReplicas)) -}}
{{- fail (printf "scorer.autoscaling.minReplicas is %v, over maxReplicas %v" .Values.scorer.autoscaling.minReplicas .Values.scorer.autoscaling.maxReplicas) -}}
{{- end -}}
{{- if and .Values.scorer.enabled .Values.scorer.autoscaling.enabled (eq .Values.scorer.host "deployment") (not .Values.monitoring.serverAddress) -}}
{{- fail "scorer.autoscaling.enabled needs monitoring.serverAddress: the scorers' queue is known to Prometheus alone" -}}
{{- end -}}
{{- range $path, $list := dict "ingest" .Values.ingest "ingest.dash" .Values.ingest.dash -}}
{{- if and $list.enabled $list.sources $list.existingSecret -}}
{{- fail (printf "%s.sources and %s.existingSecret: the list is in one of them" $path $path) -}}
{{- end -}}
{{- if and $list.enabled (not $list.sources) (not $list.existingSecret) -}}
{{- fail (printf "%s.enabled and no source: name them in %s.sources, or a Secret that has sources.txt in %s.existingSecret" $path $path $path) -}}
{{- end -}}
{{- end -}}
{{- range $component := list "worker" "scorer" "wall" "ingest" "rate" -}}
{{- if hasKey ((index $.Values $component).settings | default dict) "FVQ_TOPIC_PREFIX" -}}
{{- fail (printf "%s.settings.FVQ_TOPIC_PREFIX: put it under settings, because all processes and the job that makes the topics must have the same one" $component) -}}
{{- end -}}
{{- end -}}
{{- if .Values.wall.enabled -}}
{{- $settings := fromYaml (include "fvq.settingsOf" (dict "root" . "component" "wall")) -}}
{{- if not $settings.FVQ_INFLUX_URL -}}
{{- fail "wall.enabled and settings.FVQ_INFLUX_URL is missing: without InfluxDB each worker has its scores in a file of its own, which the wall cannot read" -}}
{{- end -}}
{{- if .Values.wall.settings.FVQ_WEB_URL -}}
{{- fail "wall.settings.FVQ_WEB_URL: put it under settings, because the workers' alerts link to it too" -}}
{{- end -}}
{{- if not (or (hasKey .Values.secrets "FVQ_WEB_TOKENS_FILE") (and $settings.FVQ_WEB_USER_HEADER $settings.FVQ_WEB_TRUSTED_PROXIES)) -}}
{{- fail "wall.enabled and nobody can sign in: name a Secret in secrets.FVQ_WEB_TOKENS_FILE, whose file `fvq web token add` makes, or set FVQ_WEB_USER_HEADER and FVQ_WEB_TRUSTED_PROXIES in wall.settings" -}}
{{- end -}}
{{- end -}}
{{- $set := ternary "FVQ_DEEP_URL" "FVQ_SCORER_URL" (eq .Values.scorer.scores "deep") -}}
{{- if and .Values.scorer.enabled (include "fvq.ofWorkers" (dict "root" . "name" $set)) -}}
{{- fail (printf "%s and scorer.enabled: the chart's scorer would not be used; set scorer.enabled=false, or leave the address out" $set) -}}
{{- end -}}
{{- if and .Values.scorer.enabled (eq .Values.scorer.scores "deep") (not .Values.scorer.settings.FVQ_MODEL) -}}
{{- fail "scorer.scores is deep and scorer.settings.FVQ_MODEL is missing: name the large model" -}}
{{- end -}}
{{- if and .Values.scorer.enabled (not (hasKey .Values.secrets "FVQ_SCORER_TOKEN_FILE")) -}}
{{- fail "secrets.FVQ_SCORER_TOKEN_FILE is missing: the scorer listens on the cluster's network and asks for a token. Make one: kubectl create secret generic fvq-scorer --from-literal=token=$(openssl rand -hex 24)" -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- $policy := .Values.networkPolicy -}}
{{- range $path, $settings := $running -}}
{{- range $name, $rule := dict "FVQ_BROKER" "kafka" "FVQ_INFLUX_URL" "influxdb" -}}
{{- include "fvq.checkPorts" (merge (dict "policy" $rule "setting" (printf "%s.%s" $path $name) "addresses" (get ($settings | default dict) $name)) (index $policy $rule)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "FVQ_SCORER_URL" "FVQ_DEEP_URL" -}}
{{- include "fvq.checkPorts" (merge (dict "policy" "scorer" "setting" $name "addresses" (include "fvq.ofWorkers" (dict "root" $ "name" $name))) $policy.scorer) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.scorer.enabled (eq .Values.scorer.host "ray") -}}
{{- if not .Values.scorer.ray.tokenSecret -}}
{{- fail "scorer.ray.tokenSecret is missing: without a token Ray runs code for whoever reaches it. Make one: kubectl create secret generic fvq-ray --from-literal=auth_token=$(openssl rand -hex 32)" -}}
{{- end -}}
{{- if .Values.scorer.autoscaling.enabled -}}
{{- fail "scorer.autoscaling is for scorer.host deployment; with ray each pod has its replica and its GPU: set scorer.replicas" -}}
{{- end -}}
{{- end -}}
{{- range $path, $settings := $running -}}
{{- $security := get ($settings | default dict) "FVQ_KAFKA_SECURITY" -}}
{{- if and (hasPrefix "SASL" $security) (not (hasKey $.Values.secrets "FVQ_KAFKA_PASSWORD_FILE")) -}}
{{- fail (printf "%s.FVQ_KAFKA_SECURITY is %s and secrets.FVQ_KAFKA_PASSWORD_FILE is missing" $path $security) -}}
{{- end -}}
{{- end -}}
{{- $shared := "" -}}
{{- range $path, $settings := $running -}}
{{- range $name, $value := $settings -}}
{{- if regexMatch "(^|:)/shared(/|:|$)" (toString $value) }}{{ $shared = printf "%s.%s" $path $name }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.sharedVolume.existingClaim (not $shared) -}}
{{- fail "sharedVolume.existingClaim is set and nothing uses it: set FVQ_REGISTRY=/shared/models, FVQ_CLIP_STORE=/shared/clips" -}}
{{- end -}}
{{- if and $shared (not .Values.sharedVolume.existingClaim) -}}
{{- fail (printf "%s is in /shared, where nothing is mounted: set sharedVolume.existingClaim" $shared) -}}
{{- end -}}
{{- include "fvq.checkTogether" (dict "root" . "running" $running) -}}
{{- end -}}

{{/* Settings that do not go together, which a process refuses at its start, in the product's words. What is missing here may be in
     environmentSecrets. root; running: the settings of what runs, by their path. */}}
{{- define "fvq.checkTogether" -}}
{{- $values := .root.Values -}}
{{- $worker := fromYaml (include "fvq.settingsOf" (dict "root" .root "component" "worker")) -}}
{{- $scores := ternary $values.scorer.scores "" $values.scorer.enabled -}}
{{- $scorer := include "fvq.scorerAddress" .root -}}
{{- if and $worker.FVQ_SCORER_FALLBACK (not $scorer) (not $values.environmentSecrets) -}}
{{- fail "FVQ_SCORER_FALLBACK: is for workers of a served scorer: scorer_url must be set too; set scorer.enabled with scorer.scores=all, or FVQ_SCORER_URL" -}}
{{- end -}}
{{- if and $worker.FVQ_SECOND_MODEL $scorer -}}
{{- fail (printf "FVQ_SECOND_MODEL: cannot be used with scorer_url: a second model scores the clips of a model in the worker's process%s" (ternary "; scorer.enabled with scorer.scores=all sets scorer_url" "" (eq $scores "all"))) -}}
{{- end -}}
{{- if and $worker.FVQ_DEEP_MODEL (or $worker.FVQ_DEEP_URL (eq $scores "deep")) -}}
{{- fail (printf "FVQ_DEEP_MODEL: cannot be used with deep_url: there is one large model, here or served%s" (ternary "; scorer.scores=deep sets deep_url" "" (eq $scores "deep"))) -}}
{{- end -}}
{{- $serve := fromYaml (include "fvq.settingsOf" (dict "root" .root "component" "scorer")) -}}
{{- $queue := $serve.FVQ_SERVE_QUEUE | default 256 -}}
{{- $batch := $serve.FVQ_SERVE_BATCH | default 16 -}}
{{- if and $values.scorer.enabled (lt (int $queue) (int $batch)) -}}
{{- fail (printf "FVQ_SERVE_QUEUE: is %d, less than serve_batch, %d" (int $queue) (int $batch)) -}}
{{- end -}}
{{/* The scorer has no Kafka and no InfluxDB. What all share is by itself the environment of the job that makes the topics. */}}
{{- $running := ternary .running (omit .running "settings") $values.topics.create -}}
{{- range $path, $_ := omit $running "scorer.settings" -}}
{{- $settings := fromYaml (include "fvq.settingsOf" (dict "root" $.root "component" (trimSuffix ".settings" $path))) -}}
{{- $security := $settings.FVQ_KAFKA_SECURITY | default "" -}}
{{- if and (hasPrefix "SASL" $security) (not $settings.FVQ_KAFKA_USER) (not $values.environmentSecrets) -}}
{{- fail (printf "FVQ_KAFKA_SECURITY: kafka_security is %s: kafka_user must be set too; set settings.FVQ_KAFKA_USER" $security) -}}
{{- end -}}
{{- if and $settings.FVQ_INFLUX_URL (not (hasKey $values.secrets "FVQ_INFLUX_TOKEN_FILE")) (not $values.environmentSecrets) -}}
{{- fail "FVQ_INFLUX_URL: influx_url is set: influx_token or influx_token_file must be set too; name a Secret in secrets.FVQ_INFLUX_TOKEN_FILE" -}}
{{- end -}}
{{- end -}}
{{- end -}}
