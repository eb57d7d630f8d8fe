# Three identities, each with what it needs: the function reads its secrets, the caller calls, the build builds.
resource "google_project_service" "used" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "eventarc.googleapis.com",
    "logging.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

resource "google_service_account" "function" {
  account_id   = "spike-function"
  display_name = "spike: what the functions run as"
}

resource "google_service_account" "caller" {
  account_id   = "spike-caller"
  display_name = "spike: what Cloud Scheduler and Eventarc call the functions as"
}

resource "google_service_account" "build" {
  account_id   = "spike-build"
  display_name = "spike: what Cloud Build builds the functions as"
}

resource "google_secret_manager_secret" "spike" {
  for_each  = var.secrets
  secret_id = "spike-${each.value}"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each  = google_secret_manager_secret.spike
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function.member
}

resource "google_cloud_run_service_iam_member" "caller" {
  for_each = google_cloudfunctions2_function.spike
  location = each.value.location
  service  = each.value.name
  role     = "roles/run.invoker"
  member   = google_service_account.caller.member
}

resource "google_project_iam_member" "caller_receives" {
  for_each = toset(var.trigger == "pubsub" ? ["roles/eventarc.eventReceiver"] : [])
  project  = var.project
  role     = each.value
  member   = google_service_account.caller.member
}

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter"])
  project  = var.project
  role     = each.value
  member   = google_service_account.build.member
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}
