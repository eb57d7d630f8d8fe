variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where functions, schedules and topics live."
  type        = string
  default     = "europe-west1"
}

variable "trigger" {
  description = "How Cloud Scheduler calls: http (with an OIDC token, tried again as often as granularity.py says), or pubsub."
  type        = string
  default     = "http"

  validation {
    condition     = contains(["http", "pubsub"], var.trigger)
    error_message = "The trigger is http or pubsub."
  }
}

variable "environment" {
  description = "Settings that are no secret, as `spike settings` names them."
  type        = map(string)
  default = {
    SPIKE_SOURCE      = "oanda"
    OANDA_ENVIRONMENT = "practice"
  }
}

variable "secrets" {
  description = "Settings whose values are in Secret Manager, under spike-NAME; their values never pass through Terraform."
  type        = set(string)
  default     = ["SPIKE_DATABASE", "OANDA_API_TOKEN", "OANDA_ACCOUNT_ID"]
}

variable "vpc_connector" {
  description = "Id of a Serverless VPC Access connector, where the database has a private address."
  type        = string
  default     = null
}

variable "ingress" {
  description = "Who may reach the functions at all; Cloud Scheduler of this project counts as internal."
  type        = string
  default     = "ALLOW_INTERNAL_ONLY"
}

variable "min_instances" {
  description = "1 keeps an instance of each function warm."
  type        = number
  default     = 0
}
