// wan-infer convert, as its users run it.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "models/weights/checkpoint.h"
#include "models/weights/format/safetensors.h"
#include "tests/support.h"
#include "tests/tools/process.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

const std::string kModel = WAN_SOURCE_DIR "/tests/nano/Wan2.2-T2V-A14B-nano";
const std::string kExpert = kModel + "/high_noise_model";

Outcome wan_infer(const std::vector<std::string>& words) {
  return Process("wan-infer", words, fs::temp_directory_path()).finish();
}

TEST(ProgramConvert, WritesAFormThatInspectReads) {
  TemporaryFolder folder;
  const std::string out = folder / "high_noise.gguf";
  const Outcome run = wan_infer({"convert", kExpert, out, "--to", "gguf:Q8_0"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_NE(run.out.find("ffn: 12 weights, 0."), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("177 tensors"), std::string::npos) << run.out;
  const Outcome read = wan_infer({"inspect", out});
  EXPECT_NE(read.out.find("60 Q8_0"), std::string::npos) << read.out;
  EXPECT_FALSE(fs::exists(out + ".part"));

  const Outcome again = wan_infer({"convert", kExpert, out, "--to", "gguf:Q8_0"});
  EXPECT_EQ(again.code, 2);
  EXPECT_NE(again.err.find("--overwrite replaces it"), std::string::npos) << again.err;
  EXPECT_EQ(wan_infer({"convert", kExpert, out, "--to", "gguf:Q8_0", "--overwrite"}).code, 0);
}

TEST(ProgramConvert, TellsOfCodesAndOfNamesAndEndsAtAll) {
  TemporaryFolder folder;
  const std::string fp8 = folder / "high_noise_fp8.safetensors", bf16 = folder / "high_noise.safetensors";
  EXPECT_EQ(wan_infer({"convert", kExpert, fp8, "--to", "fp8"}).code, 0);
  const Outcome again = wan_infer({"convert", fp8, bf16, "--to", "bf16"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("note [IN] holds 60 matrices in F8_E4M3: they are coded anew"), std::string::npos)
      << again.err;
  EXPECT_NE(again.err.find("177/177"), std::string::npos) << again.err;

  const Outcome text =
      wan_infer({"convert", kModel + "/models_t5_umt5-xxl-enc-bf16.pth", folder / "t5.safetensors", "--to", "fp8"});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_NE(text.err.find("names of Hugging Face's UMT5"), std::string::npos) << text.err;
  EXPECT_EQ(text.err.find("note [IN]"), std::string::npos) << text.err;

  const Outcome vae = wan_infer({"convert", kModel + "/Wan2.1_VAE.pth", folder / "vae.safetensors", "--to", "bf16"});
  EXPECT_EQ(vae.code, 0) << vae.err;
  EXPECT_NE(vae.out.find("decoder: "), std::string::npos) << vae.out;
  const Outcome read = wan_infer({"inspect", folder / "vae.safetensors"});
  EXPECT_NE(read.out.find("VAE"), std::string::npos) << read.out << read.err;
}

TEST(ProgramConvert, FoldsLorasInAndSaysHowManyApplied) {
  TemporaryFolder folder;
  const Checkpoint base = Checkpoint::open(kExpert);
  const std::string name = "blocks.0.self_attn.q.weight", lora = folder / "wan_low_4steps.safetensors";
  const int64_t width = base.tensors().at(name).shape[0];
  write_safetensors(lora, {{"blocks.0.self_attn.q.diff", at::ones({width, width})},
                           {"diffusion_model.blocks.0.cross_attn.k_img.diff", at::ones({1})}});
  const std::string out = folder / "merged.safetensors", fp8 = folder / "fp8.safetensors";
  const Outcome run = wan_infer({"convert", kExpert, out, "--merge-lora", lora + ":0.5"});
  EXPECT_EQ(run.code, 0) << run.err;
  for (const char* part : {"wan_low_4steps.safetensors", "1 of 2", "1 (image tokens of Wan 2.1", "0.5"})
    EXPECT_NE(run.err.find(part), std::string::npos) << part << "\n" << run.err;
  EXPECT_NE(run.err.find("is for the low-noise expert by its name"), std::string::npos) << run.err;
  const Checkpoint merged = Checkpoint::open(out);
  EXPECT_TRUE(merged.map(name).equal((base.map(name).to(at::kFloat) + 0.5).to(base.map(name).scalar_type())));
  EXPECT_TRUE(merged.map("blocks.0.self_attn.k.weight").equal(base.map("blocks.0.self_attn.k.weight")));
  const std::string record = read_safetensors_metadata(MappedFile::open(out)).at("merged_loras");
  EXPECT_NE(record.find("\"digest\":\"samples:"), std::string::npos) << record;
  EXPECT_NE(record.find("\"scale\":0.5"), std::string::npos) << record;

  // Of a file for both experts the half that IN is.
  const std::string both = folder / "both.safetensors";
  write_safetensors(both, {{"transformer.blocks.0.attn1.to_q.diff", at::ones({width, width})},
                           {"transformer_2.blocks.0.attn1.to_q.diff", at::full({width, width}, 2.f)}});
  EXPECT_EQ(wan_infer({"convert", kExpert, out, "--merge-lora", both, "--overwrite"}).code, 0);
  EXPECT_TRUE(Checkpoint::open(out).map(name).equal(
      (base.map(name).to(at::kFloat) + 1).to(base.map(name).scalar_type())));

  EXPECT_EQ(wan_infer({"convert", kExpert, fp8, "--to", "fp8"}).code, 0);
  const struct {
    std::vector<std::string> words;
    int code;
    std::string text;
  } rows[] = {
      {{"convert", fp8, out, "--merge-lora", lora, "--overwrite"},
       2,
       "[--to] is required, since IN holds matrices in F8_E4M3"},
      {{"convert", kExpert, out, "--merge-lora", lora + ":0", "--overwrite"}, 2, "one scale that is not 0"},
      {{"convert", kExpert, out, "--merge-lora", lora, "--merge-lora", lora, "--overwrite"}, 2, "each file once"},
      {{"convert", kExpert, out, "--merge-lora", folder / "none", "--overwrite"}, 2, "[--merge-lora] must be a file"},
      {{"convert", kModel + "/Wan2.1_VAE.pth", out, "--merge-lora", lora, "--overwrite"},
       2,
       "[--merge-lora] must be left out: a LoRA changes a transformer, and IN is "}};
  for (const auto& row : rows) {
    const Outcome refused = wan_infer(row.words);
    EXPECT_EQ(refused.code, row.code) << refused.err;
    EXPECT_NE(refused.err.find(row.text), std::string::npos) << refused.err;
  }
}

TEST(ProgramConvert, SaysWhatIsWrongBeforeItWrites) {
  TemporaryFolder folder;
  const std::string out = folder / "x.safetensors";
  std::ofstream(folder / "note.txt") << "no checkpoint";
  fs::create_directories(folder / "two/vae");
  std::ofstream(folder / "two/high.safetensors") << "x";
  std::ofstream(folder / "two/vae/b.pth") << "x";
  const struct {
    std::vector<std::string> words;
    int code;
    std::string text;
  } rows[] = {
      {{"convert", kExpert, out}, 2, "[--to] is required: bf16, fp8, int8 or gguf:Q8_0"},
      {{"convert", kExpert, out, "--to", "int4"}, 2, "[--to] must be bf16, fp8, int8 or gguf:Q8_0, got 'int4'"},
      {{"convert", kExpert, "--to", "fp8"},
       2,
       "[OUT] is required; wan-infer convert IN OUT --to bf16|fp8|int8|gguf:Q8_0"},
      {{"convert", "--to", "fp8"}, 2, "[IN] is required; wan-infer convert IN OUT --to bf16|fp8|int8|gguf:Q8_0"},
      {{"convert", kModel, out, "--to", "fp8"},
       3,
       "must be one network, is the folder of a whole model; name a part of it: IN/high_noise_model, "
       "IN/low_noise_model, IN/models_t5_umt5-xxl-enc-bf16.pth or IN/Wan2.1_VAE.pth"},
      {{"convert", folder / "two", out, "--to", "fp8"},
       3,
       "[two] must be one network, is a folder of several; name one of them: IN/high.safetensors and IN/vae/b.pth"},
      {{"convert", WAN_SOURCE_DIR "/tests/formats/lora/comfy_ab_noalpha.safetensors", out, "--to", "fp8"},
       3,
       "is a LoRA, which changes a network and is none; convert NETWORK OUT --merge-lora FILE folds it into one"},
      {{"convert", kExpert, folder / "x.gguf", "--to", "fp8"}, 2, ".safetensors"},
      {{"convert", kExpert, folder / "x.pth", "--to", "gguf:Q8_0"}, 2, ".gguf"},
      {{"convert", kExpert, folder / "no/x.safetensors", "--to", "fp8"}, 2, "must lie in a folder that exists"},
      {{"convert", kModel + "/Wan2.1_VAE.pth", out, "--to", "fp8"},
       2,
       "[--to] must be bf16 for a VAE, whose convolutions take no other form, got 'fp8'"},
      {{"convert", folder / "note.txt", out, "--to", "fp8"}, 3, "note.txt"},
      {{"convert", folder / "absent", out, "--to", "fp8"}, 3, "absent"},
  };
  for (const auto& row : rows) {
    const Outcome run = wan_infer(row.words);
    EXPECT_EQ(run.code, row.code) << run.err;
    EXPECT_NE(run.err.find(row.text), std::string::npos) << row.text << ": " << run.err;
    EXPECT_FALSE(fs::exists(out)) << run.err;
    EXPECT_FALSE(fs::exists(out + ".part")) << run.err;
  }
}

TEST(ProgramConvert, TheCurrentFolderIsToldByItsName) {
  TemporaryFolder folder;
  fs::copy(kModel, folder / "Wan", fs::copy_options::recursive);
  const auto run = [&](const std::vector<std::string>& words) {
    return Process("wan-infer", words, folder / "Wan").finish();
  };
  const Outcome whole = run({"convert", ".", folder / "x.safetensors", "--to", "fp8"});
  EXPECT_EQ(whole.code, 3);
  EXPECT_NE(whole.err.find("Wan] must be one network, is the folder of a whole model"), std::string::npos) << whole.err;
  const Outcome one = run({"inspect", "Wan2.1_VAE.pth"});
  EXPECT_NE(one.out.find("\nWan2.1_VAE.pth: Wan 2.1 VAE, 1 file"), std::string::npos) << one.out;
  const Outcome here = run({"inspect", "."});
  EXPECT_TRUE(here.out.starts_with("Wan: text-to-video model\n")) << here.out;
}

TEST(ProgramConvert, AnInputThatChangesMeanwhileIsRefusedAndLeavesNothing) {
  TemporaryFolder folder;
  const fs::path in = folder / "expert";
  const std::string out = folder / "out.safetensors";
  fs::copy(kExpert, in, fs::copy_options::recursive);
  Process run("wan-infer", {"convert", in, out, "--to", "int8"}, folder.path());
  for (int i = 0; i < 60'000 && !fs::exists(out + ".part"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  run.signal(SIGSTOP);
  ASSERT_TRUE(fs::exists(out + ".part"));
  ASSERT_FALSE(fs::exists(out)) << "it was over before the file changed";
  for (const auto& file : fs::directory_iterator(in))
    fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(1));
  run.signal(SIGCONT);
  const Outcome end = run.finish();
  EXPECT_EQ(end.code, 3) << end.err;
  EXPECT_NE(end.err.find("must stay as it is while it is converted, was changed meanwhile"), std::string::npos)
      << end.err;
  for (const char* ending : {"", ".part", ".part.done"}) EXPECT_FALSE(fs::exists(out + ending)) << ending;
}

}  // namespace
}  // namespace wan
