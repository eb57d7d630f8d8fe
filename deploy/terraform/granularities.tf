# What spike_assets/granularity.py declares; spike_assets_tests/test_deploy.py holds both equal.
# H4 and D have a second cron: their candles are aligned to New York, and close an hour later there in winter. The one
# that has nothing to do says so and costs nothing. Crons are UTC.
locals {
  granularities = {
    H1 = {
      crons   = ["5 * * * *"]
      timeout = 30
      retries = 2
    }
    H4 = {
      crons   = ["5 1,5,9,13,17,21 * * *", "5 2,6,10,14,18,22 * * *"]
      timeout = 30
      retries = 2
    }
    D = {
      crons   = ["5 21 * * *", "5 22 * * *"]
      timeout = 60
      retries = 2
    }
    W = {
      crons   = ["5 21 * * 0"]
      timeout = 60
      retries = 2
    }
  }

  # The platform cuts later than the pass ends itself: an instance that has to start first takes seconds, and a call
  # that is cut cannot say why.
  slack = 30
}
