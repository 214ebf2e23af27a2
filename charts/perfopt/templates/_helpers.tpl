{{- define "perfopt.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "perfopt.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "perfopt.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "perfopt.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "perfopt.selector" -}}
app.kubernetes.io/name: {{ include "perfopt.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "perfopt.labels" -}}
{{ include "perfopt.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "perfopt.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "perfopt.serviceAccount" -}}
{{- if .root.Values.serviceAccount.create -}}
{{- printf "%s-%s" (include "perfopt.fullname" .root) .component -}}
{{- else -}}
{{- default "default" .root.Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Pools that run, as YAML: name to values, with what clusterSize gives where none is set. */ -}}
{{- define "perfopt.pools" -}}
{{- $sizes := index (.Files.Get "files/cluster-sizes.yaml" | fromYaml) .Values.clusterSize -}}
{{- $pools := dict -}}
{{- range $name, $pool := .Values.workers -}}
{{- if and $pool.enabled (or (ne $name "apply") $.Values.apply.enabled) -}}
{{- $size := index $sizes $name -}}
{{- $own := deepCopy $pool -}}
{{- if kindIs "invalid" $own.replicas }}{{ $_ := set $own "replicas" $size.replicas }}{{ end -}}
{{- if kindIs "invalid" $own.concurrency }}{{ $_ := set $own "concurrency" $size.concurrency }}{{ end -}}
{{- if not $own.resources }}{{ $_ := set $own "resources" $size.resources }}{{ end -}}
{{- $_ := set $own "processes" (max $size.processes $own.concurrency) -}}
{{- $_ := set $pools $name $own -}}
{{- end -}}
{{- end -}}
{{- toYaml $pools -}}
{{- end -}}

{{- define "perfopt.databaseSecret" -}}
{{- if .Values.trial.enabled -}}{{ include "perfopt.fullname" . }}-trial
{{- else if .Values.externalSecrets.enabled -}}{{ include "perfopt.fullname" . }}-addresses
{{- else -}}{{ required "database.existingSecret is needed: the Secret with the address of PostgreSQL under the key `url`. For a trial set trial.enabled=true." .Values.database.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "perfopt.natsSecret" -}}
{{- if .Values.trial.enabled -}}{{ include "perfopt.fullname" . }}-trial
{{- else if .Values.externalSecrets.enabled -}}{{ include "perfopt.fullname" . }}-addresses
{{- else -}}{{ required "nats.existingSecret is needed: the Secret with the address of NATS under the key `url`. For a trial set trial.enabled=true." .Values.nats.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "perfopt.databaseKey" -}}
{{- if or .Values.trial.enabled .Values.externalSecrets.enabled -}}database-url{{- else -}}{{ .Values.database.key }}{{- end -}}
{{- end -}}

{{- define "perfopt.natsKey" -}}
{{- if or .Values.trial.enabled .Values.externalSecrets.enabled -}}nats-url{{- else -}}{{ .Values.nats.key }}{{- end -}}
{{- end -}}

{{- /* The configuration file: what the chart knows, under what the values say. */ -}}
{{- define "perfopt.config" -}}
{{- $service := dict "host" "0.0.0.0" "port" 8080 "startup_seconds" 300 "ui" .Values.ui.enabled "database_url" "file:/run/secrets/perfopt/database-url" "nats_url" "file:/run/secrets/perfopt/nats-url" -}}
{{- $own := dict "service" $service -}}
{{- range $name, $field := dict "ca" "nats_ca_file" "clientCert" "nats_client_cert_file" "clientKey" "nats_client_key_file" "credentials" "nats_credentials_file" "nkeySeed" "nats_nkey_seed_file" -}}
{{- if index $.Values.nats.files $name }}{{ $_ := set $service $field (printf "/run/secrets/perfopt/nats/%s" $name) }}{{ end -}}
{{- end -}}
{{- if .Values.rulePacks }}{{ $_ := set $own "rules" (dict "packs" (list "/etc/perfopt/rules")) }}{{ end -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.config)) -}}
{{- end -}}

{{- define "perfopt.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "perfopt.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "perfopt.pullSecrets" -}}
{{- with concat (default list .Values.global.imagePullSecrets) .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "perfopt.env" -}}
- {name: HOME, value: /tmp}
- {name: OMP_NUM_THREADS, value: "1"}
- {name: OPENBLAS_NUM_THREADS, value: "1"}
{{- if .Values.plugins.volume }}
- {name: PYTHONPATH, value: /opt/perfopt/plugins}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "perfopt.mounts" -}}
- {name: secrets, mountPath: /run/secrets/perfopt, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.plugins.volume }}
- {name: plugins, mountPath: /opt/perfopt/plugins, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Further files of a Secret, as items of a volume. Takes root, of: database or nats. */ -}}
{{- define "perfopt.fileItems" -}}
{{- range $name, $key := (index .root.Values .of).files }}
{{- if $key }}
- {key: {{ ternary (printf "%s-%s" $.of $name) $key $.root.Values.externalSecrets.enabled }}, path: {{ $.of }}/{{ $name }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "perfopt.volumes" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "perfopt.databaseSecret" . }}
          items:
            - {key: {{ include "perfopt.databaseKey" . }}, path: database-url}
            {{- include "perfopt.fileItems" (dict "root" . "of" "database") | nindent 12 }}
      - secret:
          name: {{ include "perfopt.natsSecret" . }}
          items:
            - {key: {{ include "perfopt.natsKey" . }}, path: nats-url}
            {{- include "perfopt.fileItems" (dict "root" . "of" "nats") | nindent 12 }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- with .Values.plugins.volume }}
- name: plugins
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The Deployment of the API or of a pool. Takes root, component, values, args, env, port, account. */ -}}
{{- define "perfopt.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "perfopt.fullname" $root }}-{{ .component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "perfopt.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "perfopt.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "perfopt.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
      annotations:
        checksum/config: {{ printf "%s%s" (include "perfopt.config" $root) (toYaml $root.Values.rulePacks) | sha256sum }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "perfopt.serviceAccount" (dict "root" $root "component" .account) }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      {{- include "perfopt.pullSecrets" $root | nindent 6 }}
      securityContext:
        {{- include "perfopt.podSecurity" $root | nindent 8 }}
      {{- with $root.Values.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: perfopt
          image: {{ include "perfopt.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .args }}]
          env:
            - {name: PERFOPT_CONFIG, value: /etc/perfopt/perfopt.yaml}
            {{- with .env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            {{- include "perfopt.env" $root | nindent 12 }}
          {{- with $root.Values.envFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - {name: http, containerPort: {{ .port }}}
          startupProbe:
            httpGet: {path: /health/live, port: http}
            periodSeconds: 5
            failureThreshold: 72
          livenessProbe:
            httpGet: {path: /health/live, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /health/ready, port: http}
            periodSeconds: 5
            timeoutSeconds: 5
          {{- if eq .component "api" }}
          lifecycle:
            preStop:
              exec: {command: [sleep, "5"]}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            {{- include "perfopt.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/perfopt/perfopt.yaml, subPath: perfopt.yaml, readOnly: true}
            {{- if $root.Values.rulePacks }}
            - {name: rules, mountPath: /etc/perfopt/rules, readOnly: true}
            {{- end }}
            {{- include "perfopt.mounts" $root | nindent 12 }}
      volumes:
        - name: config
          configMap:
            name: {{ include "perfopt.fullname" $root }}-config
        {{- if $root.Values.rulePacks }}
        - name: rules
          configMap:
            name: {{ include "perfopt.fullname" $root }}-rules
        {{- end }}
        {{- include "perfopt.volumes" $root | nindent 8 }}
      {{- with .values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
      {{- with $root.Values.topologySpreadConstraints }}
        {{- toYaml . | nindent 8 }}
      {{- else }}
      {{- range tuple "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "perfopt.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ $.component }}
      {{- end }}
      {{- end }}
{{- end -}}

{{- /* A PodDisruptionBudget. Takes root, component. */ -}}
{{- define "perfopt.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "perfopt.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "perfopt.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "perfopt.selector" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "perfopt.matchers" -}}
{{- default (printf "namespace=%q" .Release.Namespace) .Values.prometheusRule.matchers -}}
{{- end -}}

{{- /* The head of an object's metadata below `metadata:`. Takes root, name. */ -}}
{{- define "perfopt.meta" -}}
name: {{ include "perfopt.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "perfopt.labels" .root | nindent 2 }}
{{- end -}}

{{- /* Address of the pages as browsers reach it; empty where it is not known, or no page is served. */}}
{{- define "perfopt.pages" -}}
{{- $base := dig "service" "base_url" "" .Values.config -}}
{{- if and $base .Values.ui.enabled -}}{{ printf "%s/ui" (trimSuffix "/" $base) }}{{- end -}}
{{- end }}
