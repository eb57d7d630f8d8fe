# A job per cron. At least once, never exactly once: the function finds nothing to do in a repeat.
locals {
  ticks = merge([
    for name, granularity in local.granularities : {
      for number, cron in granularity.crons : "${lower(name)}-${number + 1}" => {
        granularity = name
        cron        = cron
      }
    }
  ]...)
}

resource "google_cloud_scheduler_job" "tick" {
  for_each    = local.ticks
  name        = "spike-${each.key}"
  region      = var.region
  description = "Tells spike that ${each.value.granularity} candles may have closed."
  schedule    = each.value.cron
  time_zone   = "Etc/UTC"

  attempt_deadline = var.trigger == "http" ? "${local.granularities[each.value.granularity].timeout + local.slack}s" : null

  retry_config {
    retry_count          = local.granularities[each.value.granularity].retries
    min_backoff_duration = "5s"
    max_backoff_duration = "60s"
    max_doublings        = 3
  }

  dynamic "http_target" {
    for_each = var.trigger == "http" ? [google_cloudfunctions2_function.spike[each.value.granularity].service_config[0].uri] : []
    content {
      http_method = "POST"
      uri         = http_target.value
      headers     = { "Content-Type" = "application/json" }
      body        = base64encode(jsonencode({ granularity = each.value.granularity }))

      oidc_token {
        service_account_email = google_service_account.caller.email
        audience              = http_target.value
      }
    }
  }

  dynamic "pubsub_target" {
    for_each = var.trigger == "pubsub" ? [google_pubsub_topic.spike[each.value.granularity].id] : []
    content {
      topic_name = pubsub_target.value
      data       = base64encode(jsonencode({ granularity = each.value.granularity }))
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_pubsub_topic" "spike" {
  for_each   = var.trigger == "pubsub" ? local.granularities : {}
  name       = "spike-${lower(each.key)}"
  depends_on = [google_project_service.used]
}

# Every answer `failed` is an ERROR line, permanent ones too, of which the caller hears 200: alert on this.
resource "google_logging_metric" "failed" {
  name   = "spike-failed"
  filter = "resource.type=\"cloud_run_revision\" AND jsonPayload.status=\"failed\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    labels {
      key         = "granularity"
      value_type  = "STRING"
      description = "H1, H4, D or W"
    }
  }

  label_extractors = {
    granularity = "EXTRACT(jsonPayload.granularity)"
  }

  depends_on = [google_project_service.used]
}
