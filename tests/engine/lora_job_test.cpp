// LoRAs of jobs: under a limit of memory, in a batch, in the record and its replay, and files that are refused.
#include "engine/job/check.h"
#include "engine/job/record.h"
#include "engine/job/replay.h"
#include "engine/media/metadata.h"
#include "engine/request/params.h"
#include "engine/residency/find_parts.h"
#include "tests/engine/device_memory_support.h"

namespace wan {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

class LoraJob : public DeviceMemory {
 protected:
  /// A LoRA of all blocks' linears, some biases and the modulation of an expert of the model.
  std::string write_lora(const std::string& name, uint64_t seed, const std::function<void(Tensors&)>& change = {},
                         const fs::path& expert = kNano / "high_noise_model") {
    at::manual_seed(seed);
    Tensors tensors;
    const Checkpoint checkpoint = Checkpoint::open(expert);
    for (const auto& [tensor, stored] : checkpoint.tensors()) {
      if (!tensor.starts_with("blocks.")) continue;
      const std::string module = "diffusion_model." + tensor.substr(0, tensor.rfind('.'));
      if (tensor.ends_with(".weight") && stored.shape.size() == 2) {
        tensors[module + ".lora_down.weight"] = at::randn({2, stored.shape[1]}) / 16;
        tensors[module + ".lora_up.weight"] = at::randn({stored.shape[0], 2}) / 16;
        tensors[module + ".alpha"] = at::tensor(1.0f);
      } else if (tensor.ends_with(".q.bias")) {
        tensors[module + ".diff_b"] = at::randn(stored.shape) / 16;
      } else if (tensor.ends_with(".modulation")) {
        tensors[module + ".diff_m"] = at::randn(stored.shape) / 16;
      }
    }
    if (change) change(tensors);
    write_safetensors(folder_ / name, tensors);
    return (folder_ / name).string();
  }
  static std::string down_of(std::string up) { return up.replace(up.find("lora_up"), 7, "lora_down"); }
  static Lora lora(const std::string& path, const std::string& transformer = "", std::vector<double> scales = {1}) {
    return {path, std::move(scales), transformer};
  }
  Request with(const std::vector<Lora>& loras, nlohmann::json more = nlohmann::json::object()) const {
    more["loras"] = loras;
    return request(Task::T2V, kNano, more);
  }
  /// Whose video differs from another's by its frames alone: metadata name LoRAs.
  Request bare(const std::vector<Lora>& loras) const { return with(loras, {{"metadata", "none"}}); }
  /// The one line that a run with the LoRAs ends in, before its first step.
  std::string refusal(const Request& request) {
    Told told;
    Steps steps;
    const struct BeforeAStep {
      const Steps& steps;
      ~BeforeAStep() { EXPECT_EQ(steps.made, 0) << "it is refused before a step"; }
    } before{steps};
    try {
      rendered(request, told, {}, &steps);
    } catch (const InvalidRequest& invalid) {
      return invalid.errors.at(0).line();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(LoraJob, StreamedBlocksGiveTheSameBytes) {
  const Request wanted = bare({lora(write_lora("a_high.safetensors", 1)), lora(write_lora("a_low.safetensors", 2))});
  const std::string want = rendered(wanted);
  EXPECT_FALSE(want == rendered(bare({})));
  const Request least_of_all = limited(wanted, 1);
  const Workload work = workload_of(wanted, find_parts(wanted), resolve_placement(least_of_all), /*copied=*/true);
  Machine nothing;
  nothing.is_card = true;
  uint64_t all = activations_of(work).most();
  for (const auto& [network, sizes] : work.networks) all += sizes.device();
  const uint64_t least = shortage(work, nothing, work.extent)->bytes;
  const Workload without = workload(request(Task::T2V, kNano));
  EXPECT_GT(activations_of(work).denoise, activations_of(without).denoise);
  EXPECT_GT(work.demand(work.extent).block.linear, without.demand(without.extent).block.linear);
  for (const uint64_t limit : {all, (all + least) / 2, least}) {
    Told told;
    EXPECT_TRUE(rendered(limited(wanted, limit), told) == want) << limit;
    EXPECT_LE(told.device.at("peak_bytes").get<uint64_t>(), limit);
    if (limit == least) {
      EXPECT_GE(told.streamed.at("high-noise expert"), 1);
    }
  }
}

TEST_F(LoraJob, JobsOfABatchAreAsEachAlone) {
  const std::string a = write_lora("a.safetensors", 1), b = write_lora("b.safetensors", 2);
  std::vector<Request> requests = {bare({lora(a, "both")}), bare({}),
                                   bare({lora(b, "high", {1, 0}), lora(a, "low", {0.5})}), bare({lora(a, "both")})};
  std::vector<std::string> alone;
  for (const Request& request : requests) alone.push_back(rendered(request));
  EXPECT_TRUE(alone[0] == alone[3]);
  EXPECT_FALSE(alone[0] == alone[1]);
  std::vector<JobRequest> jobs;
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].out = (folder_ / ("job" + std::to_string(i) + ".mp4")).string();
    jobs.push_back({.line = int64_t(i) + 1, .request = requests[i]});
  }
  Silent silent;
  WorkFolder work(folder_ / "work", 1, "work");
  const RunResult result = run_jobs(jobs, work, {}, Log{}, silent);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(result.jobs[i].error, "");
    EXPECT_TRUE(bytes_of(requests[i].out) == alone[i]) << i;
  }
  EXPECT_EQ(result.expert_loads, 2) << "networks stay where LoRAs change";
}

TEST_F(LoraJob, AnInterruptedRunGoesOnWithItsBytes) {
  const std::string path = write_lora("a.safetensors", 1);
  const Request wanted = bare({lora(path, "both", {1, 0.5})});
  const std::string want = rendered(wanted);
  EXPECT_FALSE(want == rendered(bare({lora(path, "both")}))) << "the second scale counts";
  Told told;
  Steps few(1);  // amid the steps of an expert, whose second one has the other scale
  EXPECT_THROW(rendered(wanted, told, {}, &few), Cancelled);
  EXPECT_TRUE(rendered(wanted, told) == want);
}

TEST_F(LoraJob, TheRecordNamesFilesDigestsAndScales) {
  const Request wanted = with({lora(write_lora("a.safetensors", 1), "both", {1, 0.5})});
  Silent silent;
  const std::string out = render(wanted, {}, Log{}, silent);
  const Record record = parse_record(read_metadata({out, "video"}), "video");
  ASSERT_EQ(record.request.loras.size(), 1u);
  EXPECT_EQ(record.request.loras[0], (Lora{"a.safetensors", {1, 0.5}, "both"}));
  const auto is_lora = [](const FileIdentity& file) { return file.part == kLoraPart; };
  const auto file = std::find_if(record.files.begin(), record.files.end(), is_lora);
  ASSERT_NE(file, record.files.end());
  EXPECT_EQ(file->name, "a.safetensors");
  EXPECT_TRUE(file->digest.starts_with(kSamplesDigest));

  nlohmann::json fields =
      find_named(record.request, {{"model", kNano.string()}}, folder_.path(), Named::ModelAndInputs);
  EXPECT_EQ(fields["loras"][0]["path"], (folder_ / "a.safetensors").string());
  const auto others = [&] {
    IdentityCache cache;
    std::vector<std::string> lines;
    for (const Difference& difference : other_files(record, find_parts(wanted), cache))
      lines.push_back(difference.line());
    return lines;
  };
  EXPECT_EQ(others(), std::vector<std::string>());
  write_lora("a.safetensors", 3);
  ASSERT_EQ(others().size(), 1u);
  EXPECT_TRUE(others()[0].starts_with("[a.safetensors] must be as recorded, ")) << others()[0];
  fs::remove(folder_ / "a.safetensors");
  try {
    find_named(record.request, {{"model", kNano.string()}}, folder_.path(), Named::ModelAndInputs);
    ADD_FAILURE();
  } catch (const InvalidRequest& missing) {
    EXPECT_NE(missing.errors.at(0).line().find("a.safetensors"), std::string::npos) << missing.errors.at(0).line();
  }
}

TEST_F(LoraJob, WhichExpertAFileIsForItsNameOrTheRequestSays) {
  const std::string plain = write_lora("style.safetensors", 1), high = write_lora("style_high_noise.safetensors", 1),
                    low = write_lora("style_LOW.safetensors", 1);
  const Request model = request(Task::T2V, kNano);
  const ModelParts parts = find_parts(model);
  const auto subject = [&](const std::vector<Lora>& loras) {
    Notes notes;
    Loras(with(loras), parts).note(notes);
    return notes.list();
  };
  EXPECT_EQ(refusal(with({lora(plain)})).substr(0, 28), "[loras] must be for an exper");
  EXPECT_NE(refusal(with({lora(write_lora("HIGH_to_low.safetensors", 1))})).find("says both high and low noise"),
            std::string::npos);
  EXPECT_EQ(subject({lora(high), lora(low)}), std::vector<Note>());
  EXPECT_EQ(subject({lora(plain, "both")}), std::vector<Note>());
  EXPECT_EQ(subject({lora(high)}).size(), 1u) << "one of a pair";
  EXPECT_EQ(subject({lora(plain, "both"), lora(high)}).size(), 1u) << "one of a pair, beside one for both";
  EXPECT_EQ(subject({lora(high), lora(low, "high")}).size(), 2u) << "both on one, and the name says the other";
  EXPECT_EQ(subject({lora(high, "low"), lora(low, "high")}).size(), 2u) << "swapped";
  const Schedule schedule = make_schedule(model);
  const StepAdapters adapters = Loras(with({lora(high, "", {2, 0}), lora(low, "", {3})}), parts).in_steps(model);
  std::vector<double> strengths;
  for (const Step& step : schedule) {
    const std::vector<lora::Adapter> now = adapters(step);
    strengths.push_back(now.empty() ? 0 : now[0].strength);
  }
  ASSERT_EQ(schedule.first_low(), 2) << "4 steps";
  EXPECT_EQ(strengths, (std::vector<double>{2, 0, 3, 3}));
}

TEST_F(LoraJob, FactorsWithoutAnAlphaAreNoted) {
  const ModelParts parts = find_parts(request(Task::T2V, kNano));
  const auto noted = [&](const std::string& path) {
    Notes notes;
    Loras(with({lora(path, "both")}), parts).note(notes);
    return notes.list();
  };
  EXPECT_TRUE(noted(write_lora("a.safetensors", 1)).empty());
  const std::string path = write_lora("b.safetensors", 1, [](Tensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first.ends_with(".alpha"); });
  });
  ASSERT_EQ(noted(path).size(), 1u) << "the same for both experts";
  EXPECT_EQ(noted(path)[0].text, "b.safetensors has no alpha: its factors are taken as they are");
  const std::string whole = write_lora("c.safetensors", 1, [](Tensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first.find(".diff") == entry.first.npos; });
  });
  EXPECT_TRUE(noted(whole).empty()) << "whole differences have none";
}

TEST_F(LoraJob, TwoOfOneNameInTwoFoldersAreToldApart) {
  fs::create_directories(folder_ / "one");
  fs::create_directories(folder_ / "other");
  const std::string first = write_lora("one/high_noise_model.safetensors", 1),
                    second = write_lora("other/high_noise_model.safetensors", 2);
  const Request wanted = with({lora(first), lora(second, "low")});
  Silent silent;
  const std::string out = render(wanted, {}, Log{}, silent);
  const Record record = parse_record(read_metadata({out, "video"}), "video");
  ASSERT_EQ(record.request.loras.size(), 2u);
  EXPECT_EQ(record.request.loras[0].path, "one/high_noise_model.safetensors");
  EXPECT_EQ(record.request.loras[1].path, "other/high_noise_model.safetensors");
  std::map<std::string, std::string> digests;
  for (const FileIdentity& file : record.files)
    if (file.part == kLoraPart) digests[file.name] = file.digest;
  EXPECT_EQ(digests.size(), 2u);
  EXPECT_NE(digests.at("one/high_noise_model.safetensors"), digests.at("other/high_noise_model.safetensors"));

  const nlohmann::json fields =
      find_named(record.request, {{"model", kNano.string()}}, folder_.path(), Named::ModelAndInputs);
  EXPECT_EQ(fields["loras"][1]["path"], second);
  IdentityCache cache;
  EXPECT_EQ(other_files(record, find_parts(wanted), cache).size(), 0u);
  write_lora("other/high_noise_model.safetensors", 3);
  const std::vector<Difference> others = other_files(record, find_parts(wanted), cache);
  ASSERT_EQ(others.size(), 1u);
  const std::string line = others[0].line();
  EXPECT_TRUE(line.starts_with("[other/high_noise_model.safetensors] must be as recorded, ")) << line;
  EXPECT_NE(line.find(", has the same size and other weights: samples:"), std::string::npos) << line;
}

TEST_F(LoraJob, ScalesAreOfTheWholeScheduleAndNoneIsLeftOver) {
  const std::string path = write_lora("style_high_noise.safetensors", 1);
  const ModelParts parts = find_parts(request(Task::T2V, kNano));
  Request cut =
      parse(Task::V2V,
            {{"prompt", "x"}, {"seed", 1}, {"video_url", "input"}, {"strength", 0.9}, {"preset", "lightning8-3phase"}},
            {.need_model = false, .check_files = false});
  cut.loras = {lora(path, "", {0, 1, 2, 3})};
  const Schedule schedule = make_schedule(cut);
  const StepAdapters adapters = Loras(cut, parts).in_steps(cut);
  std::vector<double> strengths;
  for (const Step& step : schedule)
    if (step.high) strengths.push_back(adapters(step).empty() ? 0 : adapters(step)[0].strength);
  EXPECT_EQ(schedule[0].index, 1);
  EXPECT_EQ(strengths, (std::vector<double>{1, 2, 3}));
  cut.loras[0].scales = {0, 1, 1, 1, 1};
  try {
    Loras(cut, parts);
    ADD_FAILURE();
  } catch (const InvalidRequest& invalid) {
    EXPECT_NE(std::string(invalid.what()).find("no more scales than the high-noise expert makes steps (4)"),
              std::string::npos)
        << invalid.what();
  }
}

TEST_F(LoraJob, AFileForTwoExpertsIsSplitByItsPrefixes) {
  const auto rename = [](const std::string& prefix) {
    return [=](Tensors& tensors) {
      Tensors renamed;
      for (const auto& [key, value] : tensors) renamed[prefix + key.substr(key.find('.') + 1)] = value;
      tensors = renamed;
    };
  };
  Tensors all;
  const std::string high = write_lora("a_high.safetensors", 1, rename("transformer.")),
                    low = write_lora("a_low.safetensors", 2, rename("transformer_2."));
  for (const std::string& path : {high, low}) {
    const Checkpoint file = Checkpoint::open(path);
    for (const auto& [key, tensor] : file.tensors()) all[key] = file.map(key).clone();
  }
  write_safetensors(folder_ / "pair.safetensors", all);
  const std::string pair = (folder_ / "pair.safetensors").string();
  EXPECT_TRUE(rendered(bare({lora(pair)})) == rendered(bare({lora(high), lora(low)})));

  const ModelParts parts = find_parts(request(Task::T2V, kNano));
  const auto noted = [&](const std::vector<Lora>& loras) {
    Notes notes;
    Loras(with(loras), parts).note(notes);
    return notes.list();
  };
  EXPECT_TRUE(noted({lora(pair)}).empty());
  EXPECT_TRUE(noted({lora(pair, "both")}).empty());
  EXPECT_TRUE(noted({lora(pair, "high"), lora(pair, "low", {0.5})}).empty());
  const std::vector<Note> half = noted({lora(pair, "high")}), other = noted({lora(pair, "low")});
  ASSERT_EQ(half.size(), 1u);
  EXPECT_EQ(half[0].text,
            "pair.safetensors has parts for both experts, and @high leaves out 198 keys of transformer_2, the "
            "low-noise expert's");
  EXPECT_EQ(half[0].change, "without @high both halves go to their experts");
  ASSERT_EQ(other.size(), 1u);
  EXPECT_NE(other[0].text.find("@low leaves out 198 keys of transformer, the high-noise"), std::string::npos)
      << other[0].text;
  const std::string plain = write_lora("style.safetensors", 2, rename("transformer_2."));
  EXPECT_TRUE(noted({lora(high), lora(plain, "low")}).empty());
  const std::vector<Note> swapped = noted({lora(plain, "high")});
  ASSERT_FALSE(swapped.empty());
  EXPECT_EQ(swapped[0].text, "style.safetensors goes to the high-noise expert, and by its keys it is for the other");
}

TEST_F(LoraJob, WhatIsAppliedIsToldInOneLine) {
  const Request wanted = with(
      {lora(write_lora("a.safetensors", 1,
                       [](Tensors& tensors) {
                         tensors["diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight"] = at::ones({2, 128});
                         tensors["diffusion_model.blocks.0.cross_attn.k_img.lora_up.weight"] = at::ones({128, 2});
                         tensors["diffusion_model.other.diff"] = at::ones({3});
                       }),
            "high", {0.5})},
      {{"lora_lax", true}});
  std::vector<nlohmann::json> lines;
  const Log log{[&](std::string_view event, const Log::Fields& fields) {
    if (event == "lora" && fields.contains("applied")) lines.push_back(fields);
  }};
  Silent silent;
  render(wanted, {}, log, silent);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["network"], "high-noise expert");
  // Six blocks: ten linears of three keys, two biases of q and a modulation in each.
  EXPECT_EQ(lines[0]["applied"], "198 of 201 keys");
  EXPECT_TRUE(std::string(lines[0]["exempt"]).starts_with("2 (")) << lines[0];
  EXPECT_EQ(lines[0]["unknown"], "1 (diffusion_model.other.diff)");
  EXPECT_EQ(lines[0]["effective"], "0.25") << "alpha 1 of rank 2, at 0.5";
}

TEST_F(LoraJob, KeysThatAreLeftOutAreNotedInACheckAndInTheVideo) {
  const auto with_more = [](Tensors& tensors) {
    tensors["diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight"] = at::ones({2, 128});
    tensors["diffusion_model.blocks.0.cross_attn.k_img.lora_up.weight"] = at::ones({128, 2});
    tensors["diffusion_model.other.diff"] = at::ones({3});
  };
  const Request wanted = with({lora(write_lora("a.safetensors", 1, with_more), "both", {0.5})}, {{"lora_lax", true}});
  const auto count = [](const std::vector<Note>& notes) {
    return std::count_if(notes.begin(), notes.end(), [](const Note& note) {
      return note.text ==
             "a.safetensors on the high-noise expert and the low-noise expert: applied 198 of 201 keys, exempt 2 "
             "(image tokens of Wan 2.1, which Wan 2.2 does not have), unknown 1 (diffusion_model.other.diff), "
             "effective scale 0.25";
    });
  };
  Silent silent;
  const std::vector<JobRequest> jobs = {{.line = 0, .request = wanted}};
  const std::vector<CheckResult> checked =
      check_jobs(jobs, {.work = folder_ / "work", .scratch = folder_ / "scratch"}, silent);
  EXPECT_EQ(count(checked.at(0).notes), 1);
  Notes rendered;
  Loras(wanted, find_parts(wanted)).note(rendered);
  EXPECT_EQ(count(rendered.list()), 1);
  Notes plain;
  const Request all = with({lora(write_lora("b.safetensors", 1), "both")});
  Loras(all, find_parts(all)).note(plain);
  EXPECT_TRUE(plain.list().empty()) << "nothing is left out";
}

TEST_F(LoraJob, AFileOfZerosIsNoted) {
  const ModelParts parts = find_parts(request(Task::T2V, kNano));
  const auto texts = [&](const std::function<void(Tensors&)>& change) {
    Notes notes;
    Loras(with({lora(write_lora("a.safetensors", 1, change), "both")}), parts).note(notes);
    std::vector<std::string> found;
    for (const Note& note : notes.list()) found.push_back(note.text);
    return found;
  };
  const auto clear = [](Tensors& tensors) {
    for (auto& [key, values] : tensors)
      if (key.ends_with(".lora_up.weight") || key.find(".diff") != key.npos) values.zero_();
  };
  EXPECT_EQ(texts(clear), std::vector<std::string>{"a.safetensors changes nothing: its differences are all 0"});
  EXPECT_EQ(texts([&](Tensors& tensors) {
              clear(tensors);
              tensors.at("diffusion_model.blocks.5.ffn.2.lora_up.weight").view({-1})[-1] = 1;
            }),
            std::vector<std::string>())
      << "one value of one factor counts";
}

TEST_F(LoraJob, FilesThatCannotBeAppliedAreRefusedBeforeAStep) {
  const std::string good = write_lora("good.safetensors", 1);
  const std::string down = "diffusion_model.blocks.0.ffn.0.lora_down.weight";
  const auto bad = [&](const std::string& name, const std::function<void(Tensors&)>& change) {
    return refusal(with({lora(write_lora(name, 1, change), "both")}));
  };
  const std::map<std::string, std::string> lines = {
      {"NaN", bad("nan.safetensors", [&](Tensors& tensors) { tensors[down][0][0] = NAN; })},
      {"unknown", bad("unknown.safetensors",
                      [&](Tensors& tensors) { tensors["diffusion_model.blocks.90.ffn.0.diff"] = at::ones({4}); })},
      {"another size", bad("size.safetensors",
                           [&](Tensors& tensors) {
                             tensors[down] = at::ones({2, 3072});
                           })},
      {"half a pair", bad("half.safetensors", [&](Tensors& tensors) { tensors.erase(down); })},
      {"rank 0", bad("rank.safetensors",
                     [&](Tensors& tensors) {
                       tensors[down] = at::ones({0, 128});
                     })},
      {"another network", bad("other.safetensors",
                              [](Tensors& tensors) {
                                tensors = {{"transformer.single_blocks.0.lora_down.weight", at::ones({2, 8})}};
                              })},
      {"alpha 0", bad("alpha.safetensors",
                      [](Tensors& tensors) { tensors["diffusion_model.blocks.0.ffn.0.alpha"] = at::tensor(0.0f); })},
      {"text encoder",
       bad("text.safetensors",
           [](Tensors& tensors) {
             tensors = {{"lora_te1_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight", at::ones({2, 8})}};
           })},
      {"twice", refusal(with({lora(good, "both"), lora(good, "low")}))},
      {"absent", refusal([&] {
         Request request = with({lora(good, "both")});
         request.loras[0].path = (folder_ / "none.safetensors").string();
         return request;
       }())}};
  for (const auto& [what, line] : lines) {
    EXPECT_NE(line, "") << what;
    EXPECT_EQ(line.find('\n'), std::string::npos) << what << ": " << line;
    EXPECT_NE(line.find(".safetensors"), std::string::npos) << what << ": " << line;
  }
  EXPECT_NE(lines.at("NaN").find("finite"), std::string::npos) << lines.at("NaN");
  EXPECT_NE(lines.at("twice").find("twice"), std::string::npos) << lines.at("twice");
}

// A check reads the first 4 KiB of each factor, a run all of it.
TEST_F(LoraJob, ACheckLooksForNumbersThatAreNotFiniteWithoutReadingTheFile) {
  const std::string up = "diffusion_model.blocks.0.ffn.0.lora_up.weight";
  const auto with_nan = [&](const std::string& name, bool at_the_end) {
    return with({lora(write_lora(name, 1,
                                 [&](Tensors& tensors) {
                                   at::Tensor& factor = tensors.at(up);
                                   factor = at::cat({factor, at::zeros({factor.size(0), 30})}, 1);
                                   tensors[down_of(up)] = at::ones({32, tensors.at(down_of(up)).size(1)});
                                   factor.view({-1})[at_the_end ? -1 : 0] = NAN;
                                 }),
                      "both")});
  };
  const auto checked = [&](const Request& request) -> std::string {
    Silent silent;
    const std::vector<JobRequest> jobs = {{.line = 0, .request = request}};
    const std::vector<CheckResult> results =
        check_jobs(jobs, {.work = folder_ / "work", .scratch = folder_ / "scratch"}, silent);
    try {
      if (results.at(0).failure) std::rethrow_exception(results[0].failure);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  };
  const Request first = with_nan("first.safetensors", false), last = with_nan("last.safetensors", true);
  EXPECT_NE(checked(first).find("finite"), std::string::npos) << checked(first);
  EXPECT_EQ(checked(last), "");
  for (const Request& request : {first, last}) EXPECT_NE(refusal(request).find("finite"), std::string::npos);
}

TEST_F(LoraJob, AFileThatChangesDuringARunEndsIt) {
  const std::string path = write_lora("a.safetensors", 1);
  const Request wanted = with({lora(path, "both")});
  struct Changing : Progress {
    explicit Changing(std::string path) : path(std::move(path)) {}
    void at(const Report& report) override {
      if (report.stage != Stage::Denoise || made++ != 1) return;
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(-4, std::ios::end);
      file.write("abcd", 4);
    }
    std::string path;
    int made = 0;
  } changing(path);
  Told told;
  try {
    rendered(wanted, told, {}, &changing);
    ADD_FAILURE() << "goes on";
  } catch (const ModelError& error) {
    EXPECT_NE(std::string(error.what()).find("a.safetensors"), std::string::npos) << error.what();
  }
}

TEST_F(LoraJob, SpeechTakesThem) {
  const fs::path model = kCheckpoints / "Wan2.2-S2V-14B";
  const nlohmann::json more = {{"num_inference_steps", 2}, {"max_seconds", 0.3}, {"metadata", "none"}};
  nlohmann::json with_lora = more;
  with_lora["loras"] = std::vector<Lora>{lora(write_lora("a.safetensors", 1, {}, model))};
  const std::string plain = rendered(request(Task::S2V, model, more));
  EXPECT_FALSE(rendered(request(Task::S2V, model, with_lora)) == plain);
  with_lora["loras"][0]["scale"] = 0;
  EXPECT_TRUE(rendered(request(Task::S2V, model, with_lora)) == plain) << "a scale of 0 is off";
}

}  // namespace
}  // namespace wan
