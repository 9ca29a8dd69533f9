// wan-bench: speed and memory on this machine, without a checkpoint. tools/bench/README.md describes its commands.
#include <ATen/Parallel.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/core/InferenceMode.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/request/known_cards.h"
#include "kernels/op/pieces.h"
#include "tools/bench/adopt.h"
#include "tools/bench/cpu.h"
#include "tools/bench/device.h"
#include "tools/bench/disk.h"
#include "tools/bench/gpu.h"
#include "tools/bench/interpolate.h"
#include "tools/bench/profile.h"
#include "tools/bench/skip_softmax.h"
#include "tools/cli/environment.h"
#include "tools/mlperf/command.h"
#include "tools/serve_bench/serve_bench.h"

namespace {

using namespace wan::bench;

/// A card was wanted and there is none.
constexpr int kNoDevice = 4;

std::string text(const auto& report) {
  return to_json(report).dump(1) + "\n";
}

struct Files {
  std::string json, plot;
};

int measure(GpuOptions options, const Files& files) {
  if (!has_device()) {
    std::cerr << "wan-bench: no CUDA device is here, or this build lacks kernels or libtorch's CUDA part; "
                 "`wan-bench cpu` measures without one\n";
    return kNoDevice;
  }
  options.kernels = wan::options_of_environment();
  if (options.commit.empty()) options.commit = current_commit();
  Report last;
  measure_gpu(options, [&](const Report& report) {
    last = report;
    if (!files.json.empty()) write_file(files.json, text(report));
  });
  if (!files.plot.empty()) write_file(files.plot, roofline(last));
  std::cout << table(last);
  return 0;
}

void add_cpu(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("cpu", "networks and programs on the CPU, one JSON line for each row");
  auto options = std::make_shared<CpuOptions>();
  auto threads = std::make_shared<int>(0);
  command->add_option("rows", options->rows, "which rows; all by default");
  command->add_option("--runs", options->runs, "runs after the warm-up")->check(CLI::Range(1, 1000));
  command->add_option("--threads", *threads, "threads of a network")->check(CLI::Range(1, 1024));
  command->add_option("--tokens", options->tokens, "of the transformer block, a multiple of 32")
      ->check(CLI::Range(32, 1 << 20));
  command->add_option("--model", options->model, "model folder of the row inspect");
  command->add_flag("--in-process", options->in_process, "measure networks in this process");
  command->callback([=, &status] {
    if (*threads > 0) at::set_num_threads(*threads);
    options->programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    cpu(*options, std::cout);
    status = 0;
  });
}

void add_disk(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand("disk", "reading of weights beside dd bs=16M, one JSON line for each row");
  auto options = std::make_shared<DiskOptions>();
  CLI::Option* file = command->add_option("file", options->file, "file to read; it is not changed");
  CLI::Option* size = command->add_option("--size", options->size, "bytes of a file that is written first: 8GB");
  size->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))->excludes(file);
  command->add_option("--folder", options->folder, "where that file is written, and removed again")->excludes(file);
  command->add_option("--runs", options->runs, "pairs of runs")->check(CLI::Range(1, 1000));
  command->add_option("--readers", options->readers, "threads that read")->check(CLI::Range(1, 256));
  command->add_option("--buffers", options->buffers, "buffers of the ring")->check(CLI::Range(2, 1024));
  command->add_option("--buffer", options->buffer_megabytes, "MiB of a buffer")->check(CLI::Range(1, 1024));
  command->callback([=, &status] {
    disk(*options, std::cout);
    status = 0;
  });
}

/// The rates by which plans reckon with a card.
CardRates rates_of(const std::string& name) {
  if (name == "none") return {};
  const wan::Card* card = wan::card_named(name);
  if (!card) throw std::invalid_argument("[--card] must be a card that plans know, or none, got '" + name + "'");
  return {.name = card->name,
          .flops = card->tflops16 * 1e12 * card->linear_share,
          .bandwidth = card->bandwidth * 1e9,
          .link = card->link * 1e9};
}

void add_interpolate(CLI::App& app, const std::string& line, int& status) {
  CLI::App* command = app.add_subcommand(
      "interpolate", "the networks that draw frames between frames, on the CPU; one JSON line for each");
  auto options = std::make_shared<InterpolateOptions>();
  auto card = std::make_shared<std::string>("H100"), file = std::make_shared<std::string>();
  auto threads = std::make_shared<int>(0);
  command->add_option("networks", options->networks, "film, rife; both by default");
  command->add_option("--film", options->film, "file of FILM's weights; drawn without")->check(CLI::ExistingFile);
  command->add_option("--rife", options->rife, "file of RIFE's weights; drawn without")->check(CLI::ExistingFile);
  command->add_option("--height", options->height, "of the frames, pixels; 720")->check(CLI::Range(16, 1 << 14));
  command->add_option("--width", options->width, "1280")->check(CLI::Range(16, 1 << 14));
  command->add_option("--threads", *threads, "of a network")->check(CLI::Range(1, 1024));
  command->add_option("--runs", options->runs, "pairs after the warm-up; 3")->check(CLI::Range(1, 1000));
  command->add_option("--card", *card, "whose time of a clip is computed; H100; none: of no card");
  command->add_flag("--in-process", options->in_process, "measure in this process");
  command->add_option("--json", *file, "file for the result");
  command->callback([=, &status] {
    if (*threads > 0) at::set_num_threads(*threads);
    options->card = rates_of(*card);
    options->program = std::filesystem::read_symlink("/proc/self/exe").string();
    nlohmann::json result = {{"command", line}, {"commit", current_commit()}, {"rows", nlohmann::json::array()}};
    interpolate(*options, std::cout, [&](const std::string& row) {
      result["rows"].push_back(nlohmann::json::parse(row));
      if (!file->empty()) write_file(*file, result.dump(1) + "\n");
    });
    status = 0;
  });
}

void add_profile(CLI::App& app, const std::string& line, int& status) {
  CLI::App* command = app.add_subcommand("profile", "one forward of the transformer, operation by operation");
  auto options = std::make_shared<ProfileOptions>();
  auto files = std::make_shared<Files>();
  options->command = line;
  command->add_option("--resolution", options->resolution, "720p, 580p, 480p or short; without a card a small frame");
  command->add_option("--precision", options->precision, "exact, balanced or fast")
      ->check(CLI::IsMember({"exact", "balanced", "fast"}));
  command->add_option("--branches", options->branches, "of guidance: 1 or 2")->check(CLI::Range(1, 2));
  command->add_flag("--small-networks", options->small_networks, "a drawn network of two blocks");
  command->add_option("--trace", options->trace, "file for the time line, for chrome://tracing or Perfetto");
  command->add_option("--commit", options->commit, "what is measured; git is asked by default");
  command->add_option("--json", files->json, "file for the result");
  command->callback([=, &status] {
    options->kernels = wan::options_of_environment();
    if (options->commit.empty()) options->commit = current_commit();
    const Profile result = profile(*options);
    if (!files->json.empty()) write_file(files->json, text(result.report));
    std::cout << profile_table(result.totals, result.report);
    status = 0;
  });
}

void add_mlperf(CLI::App& app, const std::string& line, int& status) {
  CLI::App* command = app.add_subcommand(
      "mlperf", "whole videos at the settings of MLPerf Inference's Wan2.2-T2V-A14B, beside published results");
  auto options = std::make_shared<wan::mlperf::Options>();
  auto files = std::make_shared<Files>();
  options->command = line;
  command->add_option("--scenario", options->scenario, "single: one video at a time; offline: all prompts at once")
      ->check(CLI::IsMember({"single", "offline"}));
  command->add_option("--model", options->model, "folder of the model; without one weights are drawn");
  command->add_option("--precision", options->precision, "exact, balanced or fast")
      ->check(CLI::IsMember({"exact", "balanced", "fast"}));
  command->add_option("--prompts", options->prompts, "file with a prompt on each line");
  command->add_option("--negative", options->negative, "file with the negative prompt");
  command->add_option("--latent", options->latent, "file with the latent in which every video starts");
  command->add_option("--seed", options->seed, "of that latent, where no file is given");
  command->add_option("--videos", options->videos, "how many; 3, or one for each prompt of the file")
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--frames-to", options->frames_to, "folder for the videos, named as VBench looks for them");
  command->add_option("--width", options->width, "pixels; the benchmark has 1280, a machine without a card takes 64");
  command->add_option("--height", options->height, "pixels; 720, or 64");
  command->add_option("--frames", options->frames, "81, or 5");
  command->add_option("--steps", options->steps, "20, or 2");
  command->add_option("--guidance", options->guidance, "of the high-noise expert");
  command->add_option("--guidance-2", options->guidance_2, "of the low-noise expert");
  command->add_option("--boundary", options->boundary, "of t / 1000, between the experts");
  command->add_option("--shift", options->shift, "of the noise levels");
  command->add_flag("--small-networks", options->small_networks, "drawn networks that take seconds");
  command->add_option("--commit", options->commit, "what is measured; git is asked by default");
  command->add_option("--json", files->json, "file for the result");
  command->callback([=, &status] {
    options->kernels = wan::options_of_environment();
    if (options->commit.empty()) options->commit = current_commit();
    const Report report = wan::mlperf::run(*options, [&](const Report& now) {
      if (!files->json.empty()) write_file(files->json, text(now));
    });
    std::cout << table(report);
    status = 0;
  });
}

void add_serve(CLI::App& app, const std::string& line, int& status) {
  CLI::App* command = app.add_subcommand("serve", "answers, queue, memory and start of wan-serve; no GPU is needed");
  auto options = std::make_shared<ServeOptions>();
  auto files = std::make_shared<Files>();
  options->command = line;
  command->add_option("rows", options->rows, "which of them; all by default")->check(CLI::IsMember(serve_rows()));
  command->add_option("--data", options->data, "folder on the disk that is measured; it is left as it was")->required();
  command->add_option("--worker", options->worker, "another worker than wan-bench-worker, which renders nothing");
  command->add_option("--python", options->python, "Python with fastapi and uvicorn, for a mock of the status call");
  command->add_option("--mock", options->mock, "that mock; tests/serve/bench_mock.py");
  command->add_option("--seconds", options->seconds, "of each load; 10")->check(CLI::Range(0.1, 3600.0));
  command->add_option("--clients", options->clients, "that ask or submit at once; 64")->check(CLI::Range(1, 10'000));
  command->add_option("--rate", options->rate, "status calls a second where a pace is kept; 5000")
      ->check(CLI::Range(1.0, 1e6));
  command->add_option("--idle", options->idle, "connections that are open beside; 1000")->check(CLI::Range(0, 50'000));
  command->add_option("--streams", options->streams, "of events that are open beside; 100")
      ->check(CLI::Range(0, 10'000));
  command->add_option("--jobs", options->jobs, "that have ended where memory is measured; 10000")
      ->check(CLI::Range(1, 10'000'000));
  command->add_option("--starts", options->starts, "of the server; 20")->check(CLI::Range(1, 1000));
  command->add_option("--size", options->upload, "bytes of the upload; 1GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  command->add_option("--commit", options->commit, "what is measured; git is asked by default");
  command->add_option("--json", files->json, "file for the result");
  command->callback([=, &status] {
    options->programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    if (options->commit.empty()) options->commit = current_commit();
    const ServeReport report = serve_bench(*options, [&](const ServeReport& now) {
      if (!files->json.empty()) write_file(files->json, text(now));
    });
    std::cout << table(report);
    status = report.has_failed() ? 1 : 0;
  });
}

void add_skip_softmax(CLI::App& app, int& status) {
  CLI::App* command = app.add_subcommand(
      "skip-softmax", "lambda of --skip-softmax for a share of blocks left out, one JSON line for each share");
  auto options = std::make_shared<SkipSoftmaxOptions>();
  command->add_option("file,--captured", options->file,
                      "safetensors with q, k and v [1, tokens, heads, width], or of several attentions, as wan-infer "
                      "--capture-qk writes them; drawn without");
  command->add_option("--share", options->shares, "shares of the blocks, above 0 and at most 1: 0.5,0.75")
      ->delimiter(',')
      ->check(CLI::Range(1e-9, 1.0));
  command->add_option("--tokens", options->tokens, "of drawn heads")->check(CLI::Range(1, 1 << 20));
  command->add_option("--heads", options->heads, "of drawn heads")->check(CLI::Range(1, 1024));
  command
      ->add_option("--deviation", options->deviation,
                   "standard deviation of the logits of unrelated tokens, drawn heads")
      ->check(CLI::Range(1e-6, 1e6));
  command->add_option("--seed", options->seed, "of drawn heads");
  command->add_option("--groups", options->groups, "groups of queries that are looked at, for each head")
      ->check(CLI::Range(1, 1 << 20));
  command->add_flag("--wgmma", options->wgmma, "blocks of the kernels with wgmma: 64 queries by 128 keys");
  command->callback([=, &status] {
    skip_softmax(*options, std::cout);
    status = 0;
  });
}

void add_gpu(CLI::App& app, const std::string& name, const std::vector<std::string>& suites, const std::string& line,
             int& status) {
  const char* help = name == "all" ? "all of them in this order" : "on a CUDA device";
  CLI::App* command = app.add_subcommand(name, help);
  auto options = std::make_shared<GpuOptions>();
  auto files = std::make_shared<Files>();
  options->suites = suites;
  options->command = line;
  command->add_option("--budget", options->budget_seconds, "seconds after which no case is begun")
      ->check(CLI::Range(1.0, 1e6));
  command->add_option("--only", options->only, "cases whose name or shape holds this");
  command->add_option("--commit", options->commit, "what is measured; git is asked by default");
  command->add_option("--json", files->json, "file for the result");
  command->add_option("--plot", files->plot, "file for the roofline, SVG");
  command->callback([=, &status] { status = measure(*options, *files); });
}

void add_readers(CLI::App& app, int& status) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App* comparing = app.add_subcommand("compare", "two results side by side");
  comparing->add_option("files", *paths, "A.json B.json")->required()->expected(2);
  comparing->callback([=, &status] {
    std::cout << compare(read_report(paths->at(0)), read_report(paths->at(1)));
    status = 0;
  });
  CLI::App* checking = app.add_subcommand("check", "whether results are fit to be published");
  checking->add_option("files", *paths, "results")->required();
  checking->callback([=, &status] {
    status = 0;
    for (const std::string& path : *paths) {
      for (const std::string& complaint : complaints(read_report(path))) {
        std::cerr << "wan-bench: [" << path << "] " << complaint << "\n";
        status = 1;
      }
    }
  });
  auto folder = std::make_shared<std::string>(), root = std::make_shared<std::string>(".");
  auto dry = std::make_shared<bool>(false);
  CLI::App* adopting =
      app.add_subcommand("adopt", "which defaults the figures of tools/gpu_check.sh would change; writes results/");
  adopting->add_option("folder", *folder, "what the script left")->required();
  adopting->add_option("--root", *root, "the checkout whose results/ and README are written; the current folder");
  adopting->add_flag("--dry-run", *dry, "print, and write nothing");
  adopting->callback([=, &status] { status = adopt(read_findings(*folder), *root, *dry, std::cout) ? 0 : 1; });
  auto plot = std::make_shared<std::string>();
  CLI::App* showing = app.add_subcommand("show", "a result as a table");
  showing->add_option("file", *paths, "result")->required()->expected(1);
  showing->add_option("--plot", *plot, "file for the roofline, SVG");
  showing->callback([=, &status] {
    const Report report = read_report(paths->at(0));
    if (!plot->empty()) write_file(*plot, roofline(report));
    std::cout << table(report);
    status = 0;
  });
}

}  // namespace

int main(int argc, char** argv) {
  wan::kernels::fix_order_of_sums();  // as the program that is measured
  if (const std::string settings = wan::allocator_settings(); !settings.empty())
    c10::CachingAllocator::setAllocatorSettings(settings);
  const c10::InferenceMode inference;
  std::string line = "wan-bench";
  for (int i = 1; i < argc; ++i) line += std::string(" ") + argv[i];
  int status = 1;
  CLI::App app("Speed and memory of the networks and their operations on this machine, without a checkpoint.");
  app.require_subcommand(1);
  add_cpu(app, status);
  add_disk(app, status);
  add_interpolate(app, line, status);
  add_mlperf(app, line, status);
  add_profile(app, line, status);
  add_serve(app, line, status);
  add_skip_softmax(app, status);
  for (const std::string& suite : gpu_suites()) add_gpu(app, suite, {suite}, line, status);
  add_gpu(app, "all", gpu_suites(), line, status);
  add_readers(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& answer) {
    return app.exit(answer);
  } catch (const CLI::ParseError& error) {
    std::cerr << "wan-bench: " << error.what() << "; --help lists the commands\n";
    return 2;
  } catch (const std::invalid_argument& error) {
    std::cerr << "wan-bench: " << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "wan-bench: " << error.what() << "\n";
    return 1;
  }
  return status;
}
