// What is told of the library that convolves on CUDA.
#include "engine/residency/device.h"

#include <gtest/gtest.h>

namespace wan {
namespace {

TEST(Cudnn, OldAndAbsentOnesAreTold) {
  EXPECT_FALSE(cudnn_warning(91500));
  EXPECT_FALSE(cudnn_warning(100000));
  EXPECT_TRUE(cudnn_warning(91002)->starts_with("cuDNN 9.10.2 is older than 9.15")) << *cudnn_warning(91002);
  EXPECT_TRUE(cudnn_warning(91499));
  EXPECT_TRUE(cudnn_warning(8902)->starts_with("cuDNN 8.9.2 is older")) << *cudnn_warning(8902);
  EXPECT_TRUE(cudnn_warning(std::nullopt)->starts_with("libtorch has no cuDNN"));
}

TEST(Cudnn, NothingIsToldWhereAnotherLibraryConvolves) {
  const Log log{[](std::string_view, const Log::Fields& fields) { ADD_FAILURE() << fields; }};
  warn_of_cudnn(Placement{}, log);
}

TEST(Cudnn, ItsAbsenceIsLogged) {
  if (at::detail::getCUDAHooks().hasCuDNN()) GTEST_SKIP() << "this libtorch has cuDNN";
  Placement placement;
  placement.device = at::Device(at::kCUDA, 0);
  std::vector<std::string> texts;
  warn_of_cudnn(placement, Log{[&](std::string_view event, const Log::Fields& fields) {
                  EXPECT_EQ(event, "warning");
                  texts.push_back(fields.at("text"));
                }});
  EXPECT_EQ(texts, std::vector<std::string>{*cudnn_warning(std::nullopt)});
}

}  // namespace
}  // namespace wan
