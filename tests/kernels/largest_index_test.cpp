// The largest index of every own kernel and of the library back ends at the two largest jobs: 161 frames at 720p,
// 147,600 tokens, and 4,093 frames at 720p. Whether each fits its integer type is checked by the compiler; the tests
// below hold the table against the sources, so that a new kernel and an expression that was changed have to come here.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "kernels/attention/attention_cuda.h"
#include "kernels/dequantise/launch.h"
#include "kernels/linear/row_parts.h"

namespace wan::kernels {
namespace {

/// What is computed; two guidance branches pass one after the other.
struct Job {
  int64_t tokens;  // of the transformer
  int64_t frames;  // of the video

  constexpr int64_t padded(int64_t block) const { return (tokens + block - 1) / block * block; }
};
constexpr int64_t kHeads = 40, kHead = 128, kWidth = kHeads * kHead, kMerged = 3 * kWidth, kFeedForward = 13824;
constexpr int64_t kTokensOfALatent = 45 * 80, kPixels = 720 * 1280;
constexpr int64_t tokens_of(int64_t frames) {
  return ((frames - 1) / 4 + 1) * kTokensOfALatent;
}
constexpr Job kJobs[] = {{tokens_of(161), 161}, {tokens_of(4093), 4093}};
static_assert(kJobs[0].tokens == 147'600 && kJobs[1].tokens == 3'686'400);

/// Frames that the VAE has at once: a latent frame's, and the two before them; its widest map at full size.
constexpr int64_t kFramesAtOnce = 4 + 2, kWidestMap = 192;

enum class Integer { Int32, UInt32, Int64 };
constexpr int64_t limit_of(Integer type) {
  return type == Integer::Int32 ? INT32_MAX : type == Integer::UInt32 ? int64_t(UINT32_MAX) : INT64_MAX;
}

struct Entry {
  const char* file;        // below kernels/; empty: of a library
  const char* kernel;      // its name, or that of what all kernels of the file share
  const char* expression;  // as the file has it
  Integer type;
  int64_t (*largest)(const Job&);
  /// What refuses or splits it where it would not fit; empty: it fits.
  const char* guard = "";
};

constexpr Entry kTable[] = {
    // 16-bit and 8-bit attention with mma.sync.
    {"attention/attention_loop.cuh", "attention_mma_kernel", "int(blockIdx.x) * kQueries", Integer::Int32,
     [](const Job& job) { return job.padded(128); }},
    {"attention/attention_loop.cuh", "attention_mma_kernel", "int64_t(query) * token_stride", Integer::Int64,
     [](const Job& job) { return job.padded(128) * kWidth; }},
    {"attention/attention_loop.cuh", "attention_mma_kernel", "head.batch * a.queries * token_stride", Integer::Int64,
     [](const Job& job) { return job.tokens * kWidth; }},
    {"attention/attention_mma.cuh", "attention_mma_kernel", "(tile + 1) * kKeys", Integer::Int32,
     [](const Job& job) { return job.padded(64); }},
    {"attention/attention_mma.cuh", "attention_mma_kernel", "head.batch * x.batch + head.head * x.head", Integer::Int64,
     [](const Job& job) { return job.tokens * kMerged; }},
    {"attention/int8_attention_mma.cuh", "attention_mma_kernel", "head.of_batch * a.keys * kWidth", Integer::Int64,
     [](const Job& job) { return kHeads * job.tokens * kHead; }},
    {"attention/int8_attention_mma.cuh", "attention_mma_kernel", "head * a.queries + query", Integer::Int64,
     [](const Job& job) { return kHeads * job.tokens + 128; }},
    {"attention/int8_attention_mma.cuh", "attention_mma_kernel", "head.of_batch * key_blocks(a.keys)", Integer::Int64,
     [](const Job& job) { return kHeads * job.padded(128) / 128; }},
    {"attention/int8_attention_mma.cuh", "attention_mma_kernel", "int64_t(first + row) * kWidth + chunk * 16",
     Integer::Int64, [](const Job& job) { return job.padded(64) * kHead; }},
    {"attention/int8_fp8_attention_sm89.cuh", "attention_mma_kernel",
     "head.of_batch * int8_attention_mma::key_blocks(a.keys) * kInt8KeyBlock * kWidth", Integer::Int64,
     [](const Job& job) { return kHeads * job.padded(128) * kHead; }},
    // The same with wgmma: rows of all heads are a 32-bit coordinate of the copy engine.
    {"attention/heads_sm90.cuh", "attention_sm90_kernel", "int(blockIdx.x) * kQueries", Integer::Int32,
     [](const Job& job) { return job.padded(128); }},
    {"attention/attention_sm90.cuh", "attention_sm90_kernel", "tile * kKeys", Integer::Int32,
     [](const Job& job) { return job.padded(128); }},
    {"attention/attention_sm90.cuh", "attention_sm90_kernel", "head.batch * sizes.queries * token_stride",
     Integer::Int64, [](const Job& job) { return job.tokens * kWidth; }},
    {"attention/int8_attention_sm90.cuh", "attention_sm90_kernel", "head.of_batch * a.sizes.queries + head.first_query",
     Integer::Int32, [](const Job& job) { return kHeads * job.tokens + 128; }},
    {"attention/int8_attention_sm90.cuh", "attention_sm90_kernel", "head.of_batch * a.sizes.keys + tile * kKeys",
     Integer::Int32, [](const Job& job) { return kHeads * job.tokens + 128; }},
    {"attention/int8_attention_sm90.cuh", "attention_sm90_kernel", "(2 * first + half) * kWidth", Integer::Int32,
     [](const Job& job) { return 2 * kHeads * job.padded(128) / 128 * kHead; }},
    {"attention/quantise_heads.cuh", "quantise_heads_kernel", "(first + i) * a.x.token", Integer::Int64,
     [](const Job& job) { return job.padded(128) * kMerged; }},
    {"attention/quantise_heads.cuh", "quantise_heads_kernel", "(head * a.tokens + first + i) * kWidth", Integer::Int64,
     [](const Job& job) { return (kHeads * job.tokens + 128) * kHead; }},
    {"attention/quantise_values_sm89.cuh", "quantise_values_kernel", "token * a.v.token", Integer::Int64,
     [](const Job& job) { return job.padded(128) * kMerged; }},
    {"attention/quantise_values_sm89.cuh", "quantise_values_kernel",
     "(head * gridDim.x + blockIdx.x) * kWidth * kWords", Integer::Int64,
     [](const Job& job) { return kHeads * job.padded(128) / 128 * kHead * 32; }},
    // 8-bit products, of the widest rows.
    {"linear/int8_linear_mma.cuh", "int8_linear_kernel", "int64_t(first + row) * depth + begin + chunk * 16",
     Integer::Int64, [](const Job& job) { return job.padded(128) * kFeedForward; }},
    {"linear/int8_linear_mma.cuh", "int8_linear_kernel", "tile.row * kRows", Integer::Int32,
     [](const Job& job) { return job.padded(128); }},
    {"linear/int8_linear.cuh", "int8_linear_kernel", "int64_t(row) * a.channels + column", Integer::Int64,
     [](const Job& job) { return job.padded(128) * kMerged; }},
    {"linear/int8_linear.cuh", "int8_linear_kernel", "index - first * columns", Integer::Int32,
     [](const Job& job) { return job.padded(128) / 128 * (kMerged / 128); }},
    {"linear/int8_linear_sm90.cuh", "int8_linear_sm90_kernel", "tile.row * Plan::kRows", Integer::Int32,
     [](const Job& job) { return job.padded(128); }},
    {"linear/int8_linear_sm90.cuh", "int8_linear_sm90_kernel", "row_tiles * column_tiles", Integer::Int32,
     [](const Job& job) { return job.padded(128) / 128 * (kMerged / 128); }},
    {"linear/quantise.cuh", "quantise_rows_kernel", "row * a.channels + channel", Integer::Int64,
     [](const Job& job) { return job.tokens * kFeedForward; }},
    {"linear/gelu.cuh", "bias_gelu_kernel", "int64_t(blockIdx.x) * a.channels", Integer::Int64,
     [](const Job& job) { return job.tokens * kFeedForward; }},
    // Rows of tokens.
    {"norm/norm.cuh", "layer_norm_kernel", "int64_t(blockIdx.x) * a.channels", Integer::Int64,
     [](const Job& job) { return job.tokens * kWidth; }},
    {"norm/norm.cuh", "gated_residual_kernel", "blockIdx.x % unsigned(a.tokens)", Integer::UInt32,
     [](const Job& job) { return job.tokens; }},
    {"norm/norm.cuh", "rms_norm_kernel", "int64_t(blockIdx.x) * a.channels", Integer::Int64,
     [](const Job& job) { return job.tokens * kWidth; }},
    {"norm/norm_int8.cuh", "layer_norm_int8_kernel", "int64_t(blockIdx.x) * channels", Integer::Int64,
     [](const Job& job) { return job.tokens * kWidth; }},
    {"rope/rope.cuh", "norm_rope_kernel", "int64_t(blockIdx.x) * (second ? a.row_stride[1] : a.row_stride[0])",
     Integer::Int64, [](const Job& job) { return job.tokens * kMerged; }},
    {"rope/rope.cuh", "norm_rope_kernel", "int64_t(blockIdx.x % unsigned(a.tokens)) * (a.head_dim / 2)", Integer::Int64,
     [](const Job& job) { return job.tokens * (kHead / 2); }},
    // Pixels, at the least as if a whole clip came at once, and latents.
    {"norm/channel_norm.cuh", "channel_norm_kernel", "pixel * a.channels", Integer::Int64,
     [](const Job& job) { return job.frames * kPixels * kWidestMap; }},
    {"norm/channel_norm.cuh", "channel_norm_kernel", "(a.pixels + kPixels - 1) / kPixels", Integer::UInt32,
     [](const Job& job) { return job.frames * kPixels / 8 + 1; }},
    {"step/solver_step.cuh", "solver_step_kernel", "(int64_t(blockIdx.x) * kStepThreads + threadIdx.x) * kPack",
     Integer::Int64, [](const Job& job) { return 4 * job.tokens * 16 + 1024; }},
    // Weights, whatever the job: the text encoder's table is the largest.
    {"dequantise/dequantise.cuh", "widen_kernel", "row * a.row_bytes + in_row", Integer::Int64,
     [](const Job&) { return int64_t(256'384) * 4096; }},
    {"dequantise/dequantise.cuh", "widen_kernel", "unsigned(widening::chunks_of(a))", Integer::UInt32,
     [](const Job&) { return int64_t(256'384) * 4096 / kWidenChunk + 1; }},
    {"dequantise/dequantise.cuh", "widen_kernel", "row * a.columns + column + at", Integer::Int64,
     [](const Job&) { return int64_t(256'384) * 4096; }},
    // Back ends of libraries that count in 32 bits.
    {"", "ATen's memory-efficient attention", "key * stride of v, a slice of the merged product", Integer::Int32,
     [](const Job& job) { return (job.tokens - 1) * kMerged; }, "spans_int32"},
    {"", "cuBLASLt", "elements of the merged product", Integer::Int32,
     [](const Job& job) { return job.tokens * kMerged; }, "rows_at_once"},
    {"", "cuBLASLt", "elements of the feed-forward's rows", Integer::Int32,
     [](const Job& job) { return job.tokens * kFeedForward; }, "rows_at_once"},
    {"", "ATen's flash attention, cuDNN's attention", "rows of the sums, (head * tokens + token)", Integer::Int32,
     [](const Job& job) { return kHeads * job.padded(128); }},
    {"", "cuDNN's convolutions", "elements of the widest map of a latent frame", Integer::Int32,
     [](const Job&) { return kFramesAtOnce * kPixels * kWidestMap; }},
};

constexpr bool fits(const Entry& entry) {
  for (const Job& job : kJobs)
    if (entry.largest(job) > limit_of(entry.type)) return false;
  return true;
}
/// The number of the first entry that neither fits nor is guarded; -1: there is none.
constexpr int first_overflow() {
  int i = 0;
  for (const Entry& entry : kTable) {
    if (!fits(entry) && entry.guard[0] == 0) return i;
    ++i;
  }
  return -1;
}
static_assert(first_overflow() == -1, "an index does not fit its type: kTable[first_overflow()] says which");

namespace fs = std::filesystem;

/// Without blanks, so that a line's break does not matter.
std::string compact(const std::string& text) {
  std::string out;
  for (char c : text)
    if (!std::isspace(static_cast<unsigned char>(c))) out += c;
  return out;
}

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

const fs::path kKernels = fs::path(WAN_SOURCE_DIR) / "kernels";

TEST(LargestIndex, EveryExpressionIsThatOfItsFile) {
  for (const Entry& entry : kTable) {
    if (entry.file[0] == 0) continue;
    EXPECT_NE(compact(text_of(kKernels / entry.file)).find(compact(entry.expression)), std::string::npos)
        << entry.file << " has no " << entry.expression << " any more; what takes its place belongs into the table";
  }
}

TEST(LargestIndex, EveryKernelHasAnEntry) {
  std::set<std::string> known;
  for (const Entry& entry : kTable) known.insert(entry.kernel);
  const std::regex definition(R"(WAN_BOUNDED_KERNEL\([^;{]*?\)\s*(\w+_kernel)\()");
  int found = 0;
  for (const auto& file : fs::recursive_directory_iterator(kKernels)) {
    if (file.path().extension() != ".cuh") continue;
    const std::string text = text_of(file.path());
    for (std::sregex_iterator kernel(text.begin(), text.end(), definition), end; kernel != end; ++kernel, ++found)
      EXPECT_TRUE(known.count((*kernel)[1]))
          << file.path().filename() << ": " << (*kernel)[1] << " has no entry in the table of largest indices";
  }
  EXPECT_GE(found, 16);
}

TEST(LargestIndex, GuardsActWhereAnIndexDoesNotFit) {
  const Job& job = kJobs[0];
  // Values of 161 frames: a slice of the merged product, on no device.
  const auto values = [](int64_t tokens) {
    return at::empty_strided({1, tokens, kHeads, kHead}, {tokens * kMerged, kMerged, kHead, 1},
                             at::TensorOptions(at::kMeta).dtype(at::kBFloat16));
  };
  EXPECT_FALSE(spans_int32(values(job.tokens)));
  EXPECT_TRUE(spans_int32(values(tokens_of(81))));
  EXPECT_LE(rows_at_once(job.tokens, kWidth, kMerged) * kMerged, INT32_MAX);
  EXPECT_LT(rows_at_once(job.tokens, kWidth, kMerged), job.tokens);
  EXPECT_LE(rows_at_once(kJobs[1].tokens, kWidth, kFeedForward) * kFeedForward, INT32_MAX);
}

}  // namespace
}  // namespace wan::kernels
