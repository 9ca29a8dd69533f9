// What the compiler said of every kernel on every architecture: nothing spilled, nothing in local memory, and the
// tensor cores in use. A kernel that no longer fits its registers is seen here and not on somebody's GPU.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "kernels/op/device.h"

namespace wan::kernels {
namespace {

std::vector<std::filesystem::path> files_ending_in(const std::string& extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(WAN_BINARY_DIR) + "/kernels")) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  return files;
}

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream content;
  content << std::ifstream(file).rdbuf();
  return content.str();
}

int64_t count(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Resources, NoKernelSpillsOnAnyArchitecture) {
  if (!kFusedBuilt) GTEST_SKIP() << "built without kernels: no nvcc, or WAN_CUDA=OFF";
  const std::regex entry(R"(Compiling entry function '(\w+)' for '(sm_\w+)')");
  const std::regex frame(
      R"(Function properties for (\w+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)");
  std::map<std::string, std::set<std::string>> architectures;  // of each kernel
  for (const auto& file : files_ending_in(".report")) {
    const std::string report = content_of(file);
    for (std::sregex_iterator at(report.begin(), report.end(), entry), end; at != end; ++at)
      architectures[(*at)[1]].insert((*at)[2]);
    int64_t frames = 0;
    for (std::sregex_iterator at(report.begin(), report.end(), frame), end; at != end; ++at, ++frames) {
      EXPECT_EQ((*at)[2], "0") << file << ": local memory in " << (*at)[1];
      EXPECT_EQ((*at)[3], "0") << file << ": spills in " << (*at)[1];
      EXPECT_EQ((*at)[4], "0") << file << ": spills in " << (*at)[1];
    }
    EXPECT_GT(frames, 0) << file << " reports nothing; build it anew";
    EXPECT_EQ(frames, count(report, "bytes stack frame")) << file << " is not understood";
    EXPECT_EQ(count(report, "C7510") + count(report, "C7512"), 0) << file << ": serialised wgmma";
  }
  std::set<std::string> all;
  for (const auto& [kernel, own] : architectures) all.insert(own.begin(), own.end());
  for (const char* wanted : {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"})
    EXPECT_EQ(all.count(wanted), 1u) << wanted;
  for (const auto& [kernel, own] : architectures) {
    const bool wgmma = kernel.find("sm90") != std::string::npos;
    const bool float8 = kernel.find("fp8") != std::string::npos || kernel.find("quantise_values") != std::string::npos;
    EXPECT_EQ(own.size(), wgmma ? 1 : float8 ? 4 : all.size()) << kernel;
  }
  EXPECT_GT(architectures.size(), 100u);
}

std::string ptx_of(const std::string& source) {
  for (const auto& file : files_ending_in(".ptx")) {
    if (file.filename() == source + ".ptx") return content_of(file);
  }
  return "";
}

TEST(Resources, TheAttentionsProductsAreTensorCoreInstructions) {
  if (!kFusedBuilt) GTEST_SKIP() << "built without kernels: no nvcc, or WAN_CUDA=OFF";
  const std::string ptx = ptx_of("attention_mma");
  // Each of the three kernels of a type (with bias, without, with Skip-Softmax): 8 steps of depth by 8 key tiles, and
  // 4 steps of keys by 16 tiles of channels.
  EXPECT_EQ(count(ptx, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), 3 * (64 + 64));
  EXPECT_EQ(count(ptx, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"), 3 * (64 + 64));
  EXPECT_GT(count(ptx, "ldmatrix.sync.aligned.m8n8.x4.trans"), 0);
  EXPECT_GT(count(ptx, "cp.async.cg.shared.global"), 0);
}

TEST(Resources, ProductsOfBytesAreTensorCoreInstructions) {
  if (!kFusedBuilt) GTEST_SKIP() << "built without kernels: no nvcc, or WAN_CUDA=OFF";
  const char* bytes = "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32";
  // Six kernels, two types with and without GELU and two for a residual: 2 steps of depth by 4 x 4 tiles. Of attention
  // four, two of them with Skip-Softmax: 4 steps of depth by 8 key tiles, and the 16-bit values.
  EXPECT_EQ(count(ptx_of("int8_linear_mma"), bytes), 6 * 32);
  const std::string attention = ptx_of("int8_attention_mma");
  EXPECT_EQ(count(attention, bytes), 4 * 32);
  EXPECT_EQ(count(attention, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), 2 * 64);
  EXPECT_EQ(count(attention, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"), 2 * 64);
  const std::string float8 = ptx_of("int8_fp8_attention_sm89");
  EXPECT_EQ(count(float8, bytes), 2 * 4 * 32);  // with float32 and with half sums
  EXPECT_EQ(count(float8, "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32"), 2 * 2 * 32);
  EXPECT_EQ(count(float8, "mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16"), 2 * 2 * 32);
}

TEST(Resources, HoppersProductsAreThoseOfWarpgroups) {
  if (!kFusedBuilt) GTEST_SKIP() << "built without kernels: no nvcc, or WAN_CUDA=OFF";
  const std::string product = "wgmma.mma_async.sync.aligned.";
  const std::string linear = ptx_of("int8_linear_sm90");
  // Six kernels with consumers that share a tile, and six in turns: two times 64 rows by 128 columns.
  EXPECT_EQ(count(linear, product + "m64n256k32.s32.s8.s8"), 6 * 4);
  EXPECT_EQ(count(linear, product + "m64n128k32.s32.s8.s8"), 6 * 2 * 4);
  EXPECT_EQ(count(linear, "cp.async.bulk.tensor.2d"), 12 * 2);
  EXPECT_EQ(count(linear, "setmaxnreg"), 12 * 2);
  // Keys before the loop and in it, values in the loop and behind it. With Skip-Softmax keys stand in the loop twice:
  // behind the values, and where those are left out.
  constexpr int kDense = 2 + 2, kSkips = 3 + 2;
  const std::string attention = ptx_of("attention_sm90");
  EXPECT_EQ(count(attention, product + "m64n128k16.f32.bf16.bf16"), 8 * (kDense + kSkips));
  EXPECT_EQ(count(attention, product + "m64n128k16.f32.f16.f16"), 8 * (kDense + kSkips));
  EXPECT_EQ(count(attention, "bar.red.and.pred"), 2 * 2);  // in the loop and behind it
  EXPECT_GT(count(attention, "cp.async.bulk.tensor.4d"), 0);
  // Four kernels of each type: with 16-bit and with 8-bit values, dense and with Skip-Softmax.
  const std::string int8 = ptx_of("int8_attention_sm90");
  EXPECT_EQ(count(int8, product + "m64n128k32.s32.s8.s8"), 4 * 4 * (2 + 3));
  EXPECT_EQ(count(int8, product + "m64n128k16.f32.bf16.bf16"), 2 * 2 * 8);
  EXPECT_EQ(count(int8, product + "m64n128k16.f32.f16.f16"), 2 * 2 * 8);
  EXPECT_EQ(count(int8, product + "m64n128k32.f32.e4m3.e4m3"), 2 * 2 * 2 * 4);
  EXPECT_EQ(count(int8, "setmaxnreg"), 8 * 2);
}

}  // namespace
}  // namespace wan::kernels
