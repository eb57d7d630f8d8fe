"""What a functions framework loads: the shipped functions, declared as what they are."""

import functions_framework

from spike_assets import cloud

spike_http = functions_framework.http(cloud.spike_http)
spike_cloud_event = functions_framework.cloud_event(cloud.spike_cloud_event)
spike_process = cloud.spike_process  # (event, context), for `--signature-type event`
