// Plans of the real model, from headers of files that take no disk; and the table of docs/residency.md.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/parse.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/job_plan.h"
#include "engine/residency/network_sizes.h"
#include "engine/residency/networks.h"
#include "engine/residency/request_workload.h"
#include "tests/sparse_checkpoint.h"
#include "tests/support.h"
#include "tests/support/plans.h"

namespace wan {
namespace {

const Placement kCuda = {at::Device(at::kCUDA, 0), at::kBFloat16, at::Device(at::kCUDA, 0), at::kHalf};

/// The official folder of text to video, and both experts in Q4_K beside it; written once.
struct RealModel : testing::Test {
  static void SetUpTestSuite() {
    files = new TemporaryFolder;
    write_sparse_t2v_folder(*files / "model");
    std::filesystem::create_directories(*files / "model/google/umt5-xxl");
    std::ofstream(*files / "model/google/umt5-xxl/tokenizer.json") << "{}";
    for (const char* name : {"high_noise_Q4_K.gguf", "low_noise_Q4_K.gguf"})
      write_sparse_gguf(*files / name, published_tensors("official_dit_t2v_a14b"));
  }
  static void TearDownTestSuite() { delete files; }

  static Request request(const std::string& resolution, const std::string& form) {
    nlohmann::json fields = {
        {"prompt", "x"}, {"seed", 1}, {"resolution", resolution}, {"model", (*files / "model").string()}};
    if (form == "fp8") fields["weights"] = "fp8";
    if (form == "Q4_K") {
      fields["high_noise"] = (*files / "high_noise_Q4_K.gguf").string();
      fields["low_noise"] = (*files / "low_noise_Q4_K.gguf").string();
    }
    return parse(Task::T2V, fields, {});
  }

  static TemporaryFolder* files;
};
TemporaryFolder* RealModel::files = nullptr;

TEST_F(RealModel, BytesOfBlocksAndTheRestAreThoseOfLoading) {
  const ModelParts parts = find_parts(request("720p", "bf16"));
  Placement fp8 = kCuda, balanced = kCuda;
  fp8.weights = Kept::Fp8;
  balanced.precision = Precision::Balanced;
  for (const Placement& placement : {kCuda, fp8, balanced})
    for (const Network network : networks_of(Task::T2V)) {
      SCOPED_TRACE(name(network));
      EXPECT_EQ(network_sizes(network, parts, placement).device(), placed_bytes(network, parts, placement));
    }
  const NetworkSizes high = network_sizes(Network::HighNoise, parts, kCuda);
  ASSERT_EQ(high.blocks.size(), 40u);
  // Linears in bf16; modulation, norms of queries and keys, norm3 in float32.
  const uint64_t linears = 8 * 5120 * 5120 + 2 * 5120 * 13824, biases = 8 * 5120 + 13824 + 5120;
  EXPECT_EQ(high.blocks[7].device, 2 * (linears + biases) + 4 * (6 + 4 + 2) * 5120);
  EXPECT_EQ(high.blocks[7].file, 4 * (linears + biases + 12 * 5120));
  EXPECT_EQ(high.blocks[7].made, high.blocks[7].device - 4 * 12 * 5120) << "float32 stays as the file has it";
  EXPECT_EQ(network_sizes(Network::TextEncoder, parts, kCuda).blocks.size(), 24u);
  EXPECT_TRUE(network_sizes(Network::Vae, parts, kCuda).blocks.empty());
  const NetworkSizes mapped = network_sizes(Network::HighNoise, parts, Placement{});
  EXPECT_TRUE(mapped.mapped);
  EXPECT_EQ(mapped.device(), 0u);
  const NetworkSizes copied = network_sizes(Network::HighNoise, parts, Placement{}, /*copied=*/true);
  EXPECT_FALSE(copied.mapped);
  EXPECT_EQ(copied.device(), copied.file());
  EXPECT_EQ(copied.blocks[0].made, 0u);
}

TEST_F(RealModel, CodesOfTheFileAreNotMadeAnew) {
  const ModelParts parts = find_parts(request("720p", "Q4_K"));
  const NetworkSizes high = network_sizes(Network::HighNoise, parts, kCuda);
  const uint64_t linears = 8 * 5120 * 5120 + 2 * 5120 * 13824;
  EXPECT_NEAR(double(high.blocks[3].device), double(linears) / 256 * 144, 1e6);
  EXPECT_LT(high.blocks[3].made, 1'000'000u);  // biases in bf16
}

TEST_F(RealModel, APlanTakesWellUnderASecond) {
  const auto start = std::chrono::steady_clock::now();
  const JobPlan made = job_plan(request("720p", "bf16"), {.gpu = "4090", .host = "64GB"});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_LT(seconds, 5);  // 0.4 s on a quiet machine
  EXPECT_EQ(made.plan.phases.size(), 4u);
  EXPECT_EQ(made.plan.phase("high_noise")->networks[0].residency, Residency::Streamed);
}

/// "all stay", "12 of 40 kept" and so on, GB and time.
std::string cell(const Request& request, const MachineWords& words) {
  try {
    const Plan plan = job_plan(request, words).plan;
    const NetworkPlan& expert = plan.phase("high_noise")->networks.at(0);
    std::string how = plan.keeps_all ? "all" : plan.keeps_experts ? "both experts" : "one expert";
    if (expert.residency == Residency::Streamed)
      how = std::to_string(expert.kept_blocks) + (plan.phase("high_noise")->hidden ? " kept" : " kept, copies seen");
    char bytes[32];
    std::snprintf(bytes, sizeof bytes, "%.1f GB", double(plan.device_bytes()) / 1e9);
    return how + ", " + bytes + ", " + duration(plan.seconds);
  } catch (const InvalidRequest& refused) {
    return "does not fit";
  }
}

TEST_F(RealModel, TheTableOfTheDocsIsWhatIsComputed) {
  struct Row {
    const char *size, *card;
  };
  const std::vector<Row> cards = {{"12 GB", "RTX 4070"}, {"16 GB", "RTX 4080"}, {"24 GB", "RTX 4090"},
                                  {"32 GB", "RTX 5090"}, {"48 GB", "L40S"},     {"80 GB", "H100"},
                                  {"141 GB", "H200"}};
  std::string table = "| Card | Size | bf16 | fp8 | Q4_K |\n|---|---|---|---|---|\n";
  for (const Row& row : cards)
    for (const std::string& resolution : std::vector<std::string>{"480p", "720p"}) {
      table += std::string("| ") + row.size + " (" + row.card + ") | " + resolution + " |";
      for (const char* form : {"bf16", "fp8", "Q4_K"})
        table += " " + cell(request(resolution, form), {.gpu = row.card, .host = "64GB", .disk = "3GB/s"}) + " |";
      table += "\n";
    }
  std::ifstream docs(WAN_SOURCE_DIR "/docs/residency.md");
  const std::string text{std::istreambuf_iterator<char>(docs), {}};
  EXPECT_NE(text.find(table), std::string::npos) << "docs/residency.md must have this table:\n" << table;
}

/// README's sentence on one of its two cards.
TEST_F(RealModel, TheNumbersOfTheReadmeAreWhatIsComputed) {
  std::ifstream file(WAN_SOURCE_DIR "/README.md");
  std::string text;  // wherever its lines end
  for (std::string word; file >> word;) text += word + " ";
  const auto expect_told = [&](const Request& request, const char* gpu) {
    const Plan plan = job_plan(request, {.gpu = gpu, .host = "64GB", .link = "22GB/s", .disk = "3GB/s"}).plan;
    const PhasePlan& phase = *plan.phase("high_noise");
    ASSERT_TRUE(phase.hidden);
    const std::string told = std::to_string(phase.networks.at(0).kept_blocks) +
                             " of 40 blocks stay on the card, the rest is streamed behind the arithmetic, " +
                             gigabytes(plan.device_bytes()) + " of the card, " + gigabytes(phase.host_bytes) +
                             " of the host, " + std::to_string(int64_t(plan.seconds / 60 + 0.5)) + " min";
    EXPECT_NE(text.find(told), std::string::npos) << "README.md must have: " << told;
  };
  expect_told(request("720p", "bf16"), "24GiB");
  expect_told(request("480p", "fp8"), "12GiB");
}

}  // namespace
}  // namespace wan
