# One function per granularity, of one source: deploy/function/main.py, its requirements, and the package.
locals {
  root        = "${path.module}/../.."
  package     = setunion(fileset(local.root, "spike_assets/**/*.py"), fileset(local.root, "spike_assets/**/*.sql"))
  version     = regex("(?m)^version = \"(.+)\"$", file("${local.root}/pyproject.toml"))[0]
  entry_point = var.trigger == "http" ? "spike_http" : "spike_cloud_event"
}

data "archive_file" "source" {
  type        = "zip"
  output_path = "${path.module}/.build/spike.zip"

  dynamic "source" {
    for_each = local.package
    content {
      filename = source.value
      content  = file("${local.root}/${source.value}")
    }
  }

  # What pip would have written: the package asks for its own version.
  source {
    filename = "spike_assets-${local.version}.dist-info/METADATA"
    content  = "Metadata-Version: 2.1\nName: spike-assets\nVersion: ${local.version}\n"
  }

  source {
    filename = "main.py"
    content  = file("${local.root}/deploy/function/main.py")
  }

  source {
    filename = "requirements.txt"
    content  = file("${local.root}/deploy/function/requirements.txt")
  }
}

resource "google_storage_bucket" "source" {
  name                        = "${var.project}-spike-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  depends_on                  = [google_project_service.used]
}

resource "google_storage_bucket_object" "source" {
  name   = "spike-${data.archive_file.source.output_sha256}.zip"
  bucket = google_storage_bucket.source.name
  source = data.archive_file.source.output_path
}

resource "google_cloudfunctions2_function" "spike" {
  for_each    = local.granularities
  name        = "spike-${lower(each.key)}"
  location    = var.region
  description = "A pass over ${each.key} candles."

  build_config {
    runtime         = "python311"
    entry_point     = local.entry_point
    service_account = google_service_account.build.id

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    available_cpu                    = "1"
    available_memory                 = "1Gi"
    timeout_seconds                  = each.value.timeout + local.slack
    min_instance_count               = var.min_instances
    max_instance_count               = 1
    max_instance_request_concurrency = 1 # a second call at once would wait for the first one's lock
    ingress_settings                 = var.ingress
    all_traffic_on_latest_revision   = true
    service_account_email            = google_service_account.function.email
    vpc_connector                    = var.vpc_connector
    vpc_connector_egress_settings    = var.vpc_connector == null ? null : "PRIVATE_RANGES_ONLY"
    environment_variables            = var.environment

    dynamic "secret_environment_variables" {
      for_each = var.secrets
      content {
        key        = secret_environment_variables.value
        project_id = var.project
        secret     = google_secret_manager_secret.spike[secret_environment_variables.value].secret_id
        version    = "latest"
      }
    }
  }

  dynamic "event_trigger" {
    for_each = var.trigger == "pubsub" ? [google_pubsub_topic.spike[each.key].id] : []
    content {
      trigger_region        = var.region
      event_type            = "google.cloud.pubsub.topic.v1.messagePublished"
      pubsub_topic          = event_trigger.value
      service_account_email = google_service_account.caller.email
      # For as long as the message lives: the function itself skips what is older than a candle.
      retry_policy = "RETRY_POLICY_RETRY"
    }
  }

  depends_on = [
    google_project_iam_member.build,
    google_secret_manager_secret_iam_member.function,
    google_storage_bucket_iam_member.build,
  ]
}
