terraform {
  required_version = ">= 1.5"

  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.7"
    }
    google = {
      source  = "hashicorp/google"
      version = ">= 6.13, < 8.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
