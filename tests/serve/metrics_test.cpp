// Figures in the form that Prometheus reads.
#include "engine/serve/api/metrics.h"

#include <gtest/gtest.h>

#include <limits>

namespace wan::serve {
namespace {

TEST(Metrics, HistogramsCountWhatLiesBelowEachBound) {
  Histogram histogram({1, 2.5, 10});
  for (double value : {0.5, 1.0, 2.0, 2.5, 11.0}) histogram.add(value);
  EXPECT_EQ(histogram.text("x"),
            "x_bucket{le=\"1\"} 2\nx_bucket{le=\"2.5\"} 4\nx_bucket{le=\"10\"} 4\nx_bucket{le=\"+Inf\"} 5\n"
            "x_sum 17\nx_count 5\n");
  // A clock that was set back between begin and end.
  histogram.add(-3);
  EXPECT_TRUE(histogram.text("x", "a=\"b\"").starts_with("x_bucket{a=\"b\",le=\"1\"} 3\n"));
  EXPECT_TRUE(histogram.text("x", "a=\"b\"").ends_with("x_sum{a=\"b\"} 17\nx_count{a=\"b\"} 6\n"));
}

TEST(Metrics, LabelsAreEscaped) {
  MetricText out;
  out.family("x", "gauge", "What it is.");
  out.value("x", 1.5);
  out.value("x", 3, {{"a", "1\"2\\3\n4"}, {"b", ""}});
  out.value("x", std::numeric_limits<double>::quiet_NaN());
  out.value("x", std::numeric_limits<double>::infinity());
  EXPECT_EQ(out.text(),
            "# HELP x What it is.\n# TYPE x gauge\nx 1.5\nx{a=\"1\\\"2\\\\3\\n4\",b=\"\"} 3\nx NaN\nx +Inf\n");
}

TEST(Metrics, EndsOfJobsAreCountedByTheirKind) {
  Metrics metrics;
  Job job;
  job.created = 1000, job.started = 3000, job.ended = 63'000;
  job.status = JobStatus::Done;
  metrics.job_ended(job);
  job.status = JobStatus::Failed;
  job.error = JobError{422, "", "x"};
  metrics.job_ended(job);
  job.error = JobError{504, "request_timeout", "x"};
  job.started = 0;  // it never began
  metrics.job_ended(job);
  job.status = JobStatus::Cancelled;
  metrics.job_ended(job);
  EXPECT_EQ(metrics.ended["done"], 1u);
  EXPECT_EQ(metrics.ended["failed"], 2u);
  EXPECT_EQ(metrics.ended["cancelled"], 1u);
  EXPECT_EQ(metrics.failures["invalid_input"], 1u);
  EXPECT_EQ(metrics.failures["request_timeout"], 1u);
  EXPECT_NE(metrics.waits.text("w").find("w_sum 4\nw_count 2\n"), std::string::npos) << metrics.waits.text("w");
  EXPECT_NE(metrics.work.text("w").find("w_sum 60\nw_count 1\n"), std::string::npos) << metrics.work.text("w");
}

}  // namespace
}  // namespace wan::serve
