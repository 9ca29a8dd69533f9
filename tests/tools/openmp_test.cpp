// OpenMP's variables in the environment, which libgomp would complain of in its own words.
#include "tools/cli/openmp.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace wan {
namespace {

/// What is told of this value of the variable, which is unset afterwards.
std::string openmp_complaint(const char* name, const char* value) {
  const char* before = std::getenv(name);
  const std::optional<std::string> kept = before ? std::optional<std::string>(before) : std::nullopt;
  setenv(name, value, 1);
  const std::string told = wrong_openmp();
  if (std::string(value).find_first_not_of(" ") == std::string::npos) {
    EXPECT_EQ(std::getenv(name), nullptr);
  }
  kept ? setenv(name, kept->c_str(), 1) : unsetenv(name);
  return told;
}

TEST(OpenMp, WhatLibgompWouldNotTakeIsToldInOneLine) {
  for (const char* value : {"abc", "0", "-1", "2.5", "4 x", "4,", ",4", "4,0", "99999999999999999999", "2;3"})
    EXPECT_EQ(openmp_complaint("OMP_NUM_THREADS", value),
              "[OMP_NUM_THREADS] must be a whole number from 1 on, or several with commas between, got '" +
                  std::string(value) + "'; unset it, and --threads N sets the number");
  EXPECT_EQ(openmp_complaint("OMP_THREAD_LIMIT", "0"),
            "[OMP_THREAD_LIMIT] must be a whole number from 1 on, got '0'; unset it, and --threads N sets the number");
  EXPECT_EQ(openmp_complaint("OMP_WAIT_POLICY", "lazy"),
            "[OMP_WAIT_POLICY] must be active or passive, got 'lazy'; unset it");
  EXPECT_EQ(openmp_complaint("OMP_DYNAMIC", "1"), "[OMP_DYNAMIC] must be true or false, got '1'; unset it");
}

TEST(OpenMp, WhatItTakesIsRight) {
  for (const char* value : {"1", "16", " 4 ", "+4", "4,2", "4 , 2", "007", "", " "})
    EXPECT_EQ(openmp_complaint("OMP_NUM_THREADS", value), "") << value;
  EXPECT_EQ(openmp_complaint("OMP_THREAD_LIMIT", "64"), "");
  for (const char* value : {"active", "PASSIVE", " passive"})
    EXPECT_EQ(openmp_complaint("OMP_WAIT_POLICY", value), "") << value;
  EXPECT_EQ(openmp_complaint("OMP_DYNAMIC", "FALSE"), "");
}

}  // namespace
}  // namespace wan
