#include "tools/cli/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "tools/cli/help.h"
#include "tools/cli/server_flags.h"

namespace wan {

CLI::Option* add_flag(CLI::App& app, const std::string& flag, const std::string& value, const std::string& help,
                      const char* group) {
  CLI::Option* option = value.empty() ? app.add_flag(flag) : app.add_option(flag);
  if (!value.empty()) option->type_name(value);
  return option->description(help)->group(group)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_log_format(CLI::App& app) {
  add_flag(app, "--log-format", "text|json", "Progress and log as text, or one JSON object a line. Default text.",
           kGeneral);
}

namespace {

constexpr const char* kMachine = "Machine";

/// What is looked at, and what becomes of it, beside `others`.
std::vector<const char*> with_safety(std::vector<const char*> others) {
  others.insert(others.end(), {"enable_safety_checker", "enable_output_safety_checker", "safety_checker",
                               "safety_threshold", "safety_action", "discard", "blocked_words"});
  return others;
}

/// What names the model or its parts, and `others`.
std::vector<const char*> with_model(const std::vector<const char*>& others) {
  std::vector<const char*> all = {"model",        "models", "high_noise",    "low_noise", "transformer",
                                  "text_encoder", "vae",    "audio_encoder", "tokenizer"};
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

// The parameters of a request that these commands take as flags.
const std::vector<const char*> kBatchParameters = with_safety(with_model(
    {"preset", "unlocked", "device", "dtype", "noise_device", "precision", "weights", "metadata", "private_urls",
     "loras", "lora_lax", "interpolator", "expander_url", "expander_model", "expander_timeout", "quality_check"}));
const std::vector<const char*> kReplayParameters = with_safety(
    with_model({"image_url", "last_image_url", "video_url", "audio_url", "pose_video_url", "out", "metadata", "device",
                "dtype", "private_urls", "loras", "lora_lax", "interpolator", "calibration"}));
const std::vector<const char*> kInspectParameters = {"models"};
const std::vector<const char*> kDecodeParameters =
    with_safety(with_model({"out", "metadata", "device", "video_url", "keep_audio", "private_urls",
                            "interpolator_model", "num_interpolated_frames", "adjust_fps_for_interpolation",
                            "interpolation_times", "interpolator", "quality_check"}));
const std::vector<const char*> kFinishParameters = {"interpolator_model",
                                                    "num_interpolated_frames",
                                                    "adjust_fps_for_interpolation",
                                                    "interpolation_times",
                                                    "interpolator",
                                                    "model",
                                                    "models",
                                                    "out",
                                                    "video_quality",
                                                    "video_write_mode",
                                                    "metadata",
                                                    "device",
                                                    "dtype",
                                                    "device_memory",
                                                    "keep_audio",
                                                    "deinterlace",
                                                    "private_urls"};

void add_parameter(CLI::App& app, const Parameter& parameter, Task task, bool required) {
  const bool boolean = std::holds_alternative<bool Request::*>(parameter.field);
  const std::string flag = parameter.flag(), name = flag.substr(2);
  std::string names = flag;
  if (boolean) names += ",!--no-" + name;
  if (parameter.media && std::string(parameter.name).ends_with("_url")) names += "," + flag + "-url";
  add_flag(app, names, boolean ? "" : value_name(parameter, task), describe(parameter, task, required),
           parameter.group);
}

void add_run_flags(CLI::App& app) {
  add_log_format(app);
  add_flag(app, "--threads", "N", "CPU threads, at most 64 or four for each core. Default: as many as the machine has.",
           kGeneral);
}

void add_contact_sheet(CLI::App& app) {
  add_flag(app, "--contact-sheet", "FILE.png", "Also write a picture of some frames side by side.", "Output");
}

void add_overwrite(CLI::App& app, const char* help = "Replace an output that another request made.") {
  add_flag(app, "--overwrite", "", help, "Output");
}

/// Of the commands that render one video, which is resumed by itself.
void add_single(CLI::App& app) {
  add_contact_sheet(app);
  add_flag(app, "--preview", "FILE",
           "Show the video while it is made: a small PNG or JPEG, replaced every few steps, at most once a second.",
           "Output");
  add_overwrite(app);
  add_flag(app, "--fresh", "", "Begin anew instead of going on with an unfinished run of the same request.", "Output");
}

void add_task(CLI::App& app, Task task, const std::string& about) {
  CLI::App* command = app.add_subcommand(task_name(task), about);
  for (const Parameter& parameter : parameters())
    if (parameter.accepts(task)) add_parameter(*command, parameter, task, parameter.required);
  add_single(*command);
  if (task != Task::S2V)
    add_flag(*command, "--capture-qk", "FILE.safetensors",
             "Also write queries and keys of some self-attentions, at most 0.5 GB, for wan-bench skip-softmax.",
             "Advanced");
  add_flag(*command, "--dry-run", "", "Print the table of steps, and the plan where a model is given, and stop.",
           kGeneral);
  add_run_flags(*command);
}

/// A command about files; `names` are the request's parameters that it takes as flags.
CLI::App* add_command(CLI::App& app, const char* name, const char* input, const char* about,
                      const std::vector<const char*>& names) {
  CLI::App* command = app.add_subcommand(name, about);
  command->add_option(input)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  for (const char* name_of_parameter : names) {
    const Parameter& parameter = *find_parameter(name_of_parameter);
    const Task task = parameter.accepts(Task::T2V) ? Task::T2V : parameter.tasks.begin()->first;
    add_parameter(*command, parameter, task, false);
  }
  return command;
}

/// How all commands are shown and read.
void settle_commands(CLI::App& app) {
  auto formatter = std::make_shared<HelpFormatter>();
  app.formatter(formatter);
  for (CLI::App* command : app.get_subcommands({})) {
    command->formatter(formatter);
    command->allow_extras();  // so that we, and not the library, name what is unknown
  }
}

bool names(const std::vector<const char*>& list, const std::string& parameter) {
  return std::find(list.begin(), list.end(), parameter) != list.end();
}

}  // namespace

bool has_flag(const std::string& command, const Parameter& parameter) {
  if (const std::optional<Task> task = task_named(command)) return parameter.accepts(*task) != nullptr;
  return (command == "batch" && names(kBatchParameters, parameter.name)) ||
         (command == "replay" && names(kReplayParameters, parameter.name)) ||
         (command == "inspect" && names(kInspectParameters, parameter.name)) ||
         (command == "decode" && names(kDecodeParameters, parameter.name)) ||
         (command == "finish" && names(kFinishParameters, parameter.name)) ||
         (command == "watch" && parameter.name == std::string("out"));
}

void add_commands(CLI::App& app) {
  app.set_help_flag("-h,--help", "Print this text.");
  add_flag(app, "--version", "", "Print the version.", "Options");
  app.require_subcommand(0, 1);  // else CLI11 takes a stray word that is a command's name for a second command
  add_task(app, Task::T2V, "Text to video");
  add_task(app, Task::I2V, "Image to video");
  add_task(app, Task::V2V, "Video to video");
  add_task(app, Task::S2V, "Speech and a picture to video");

  CLI::App* batch = add_command(app, "batch", "MANIFEST", "Render the requests of a manifest; the same command resumes",
                                kBatchParameters);
  add_flag(*batch, "--work", "DIR", "Folder of the journal and of what is half done. Default MANIFEST.work.", "Batch");
  add_flag(*batch, "--order", "phases|given",
           "phases moves the weights least; given keeps the manifest's order. Default phases.", "Batch");
  add_flag(*batch, "--shard", "I/N",
           "Render one of N parts of the manifest, counted from 0: 0/8 to 7/8, each a process of its own, on any machine "
           "that sees the same folders.",
           "Batch");
  add_flag(*batch, "--report", "",
           "Print how far the batch is, over all its shards, and stop. Exit 0: every video is there, 1: not yet.",
           "Batch");
  add_flag(*batch, "--fail-fast", "", "Stop at the first job that fails.", "Batch");
  add_overwrite(*batch, "Replace outputs that were not made with this work folder; what it finished stays.");
  add_flag(*batch, "--dry-run", "", "Check the manifest, print its jobs, or those of the shard, and stop.", kGeneral);
  add_run_flags(*batch);
  add_batch_server_flags(*batch);

  add_command(app, "show", "VIDEO", "Print the request that is stored in a video", {});
  CLI::App* replay =
      add_command(app, "replay", "VIDEO", "Render the request that is stored in a video again", kReplayParameters);
  add_flag(*replay, "--anyway", "", "Render also where model files or inputs are others than the video's.", kGeneral);
  add_single(*replay);
  add_run_flags(*replay);
  CLI::App* decode = add_command(app, "decode", "LATENTS", "Finish a job whose latents are on disk", kDecodeParameters);
  add_flag(*decode, "--anyway", "", "Decode also where model files are others than those that made the latents.",
           kGeneral);
  add_contact_sheet(*decode);
  add_overwrite(*decode);
  add_run_flags(*decode);
  CLI::App* finish =
      add_command(app, "finish", "IN", "Draw frames into any video, and write it anew", kFinishParameters);
  finish->get_option("--out")->description("The video that is written. Required.");
  finish->get_option("--interpolator-model")
      ->description("Model that draws frames between those of IN. Required.")
      ->type_name("film|rife");
  finish->get_option("--num-interpolated-frames")
      ->description("Frames drawn between each two. Takes a number from 1 to 4. Default 1.");
  finish->get_option("--model")->description(
      "Folder of a model, or a set of models.json, in which the weights are looked for where --interpolator names "
      "none.");
  add_contact_sheet(*finish);
  add_overwrite(*finish, "Replace OUT.");
  add_run_flags(*finish);
  CLI::App* compare =
      add_command(app, "compare", "A", "Measure how near video B is to video A, frame by frame: PSNR, SSIM, LPIPS", {});
  compare->add_option("B")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_flag(
      *compare, "--lpips", "FILE",
      "Also LPIPS, with these weights: those of lpips.LPIPS, or, given twice, torchvision's AlexNet or VGG16 and the "
      "linear layers of the package lpips.",
      "Measures");
  add_flag(*compare, "--plot", "FILE.svg", "Also draw each measure over the time.", "Output");
  add_flag(*compare, "--json", "", "Print one JSON object, with every frame, in place of the table.", "Output");
  add_overwrite(*compare, "Replace the plot.");
  add_run_flags(*compare);
  CLI::App* inspect =
      add_command(app, "inspect", "DIR", "List what a model's folder or file, a set of models.json or a LoRA holds",
                  kInspectParameters);
  add_flag(*inspect, "--verify", "",
           "Compare SHA-256 checksums with those in DIR, or with a list: DIR --verify FILE, as sha256sum writes it.",
           kGeneral);
  add_flag(*inspect, "--json", "", "Print one JSON object, as --log-format json.", kGeneral);
  add_flag(*inspect, "--log-format", "text|json", "As text, or one JSON object. Default text.", kGeneral);

  CLI::App* convert = add_command(app, "convert", "IN", "Write one network's checkpoint in another form", {});
  convert->add_option("OUT")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_flag(
      *convert, "--to", "bf16|fp8|int8|gguf:Q8_0",
      "The form of the linears in the blocks: bfloat16, scaled fp8, int8 with rotated rows, or GGUF. Not needed with "
      "--merge-lora where IN is in floats: they keep their type.",
      "Output");
  add_flag(*convert, "--merge-lora", "FILE[:SCALE]",
           "Fold a LoRA into the weights, at scale 1 where none is said; may be repeated. Codes are widened, merged "
           "and coded "
           "again.",
           "LoRA");
  add_flag(*convert, "--lora-lax", "",
           "Leave out keys of a LoRA that the network has no place for, instead of refusing the file.", "LoRA");
  add_overwrite(*convert, "Replace OUT.");
  add_flag(*convert, "--threads", "N", "CPU threads. Default: all cores.", kGeneral);
  add_flag(*convert, "--log-format", "text|json", "Lines for people, or one JSON object a line. Default text.",
           kGeneral);

  add_server_commands(app);
  settle_commands(app);
}

void add_submit(CLI::App& app) {
  app.set_help_flag("-h,--help", "Print this text.");
  add_flag(app, "--version", "", "Print the version.", "Options");
  app.require_subcommand(0, 1);
  add_submit_tasks(app);
  settle_commands(app);
}

bool is_prefix(const std::string& word) {
  return word == "check" || word == "plan" || word == "calibrate" || word == "submit";
}

void add_prefixes(CLI::App& app) {
  app.add_subcommand("check", "Before t2v, i2v, v2v, s2v or batch: look whether it can run, and stop");
  app.add_subcommand("plan", "Before t2v, i2v, v2v or s2v: print what it takes of memory and time, and stop");
  app.add_subcommand("calibrate",
                     "Before t2v, i2v, v2v or s2v: measure how much its steps change, for --acceleration regular");
  app.add_subcommand("submit", "Before t2v, i2v, v2v or s2v: send it to a running wan-serve, and print its id");
}

void add_plan(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    if (!task_named(command->get_name())) {
      app.remove_subcommand(command);
      continue;
    }
    add_flag(
        *command, "--gpu", "SIZE|NAME",
        "A card of that size (24GB is 24 * 10^9 bytes, 24GiB 24 * 2^30) or of that name (4090), instead of what is "
        "here.",
        kMachine);
    add_flag(*command, "--host", "SIZE", "So much available host memory.", kMachine);
    add_flag(*command, "--link", "SPEED", "So fast a link from host memory to the card: 25GB/s.", kMachine);
    add_flag(*command, "--disk", "SPEED", "So fast a disk: 3GB/s.", kMachine);
    add_flag(*command, "--json", "", "Print the plan as one JSON object, in bytes and seconds.", kGeneral);
  }
}

void add_calibrate(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    if (!task_named(command->get_name())) {
      app.remove_subcommand(command);
      continue;
    }
    for (const Parameter& parameter : parameters()) {
      // What the measuring sets, and what is about a file that is not written.
      const std::string group = parameter.group, name = parameter.name;
      const bool idle = group == "Output" || group == "Interpolation" || group == "Prompt expansion" ||
                        group == "Safety" || name == "acceleration" || name == "calibration" ||
                        name == "guidance_interval" || name == "guidance_until";
      if (CLI::Option* option = command->get_option_no_throw(parameter.flag()); option && idle && name != "out")
        command->remove_option(option);
    }
    for (const char* flag : {"--contact-sheet", "--preview", "--capture-qk", "--dry-run"})
      if (CLI::Option* option = command->get_option_no_throw(flag)) command->remove_option(option);
    command->get_option("--out")->description("The calibration, a file .json. Required.")->type_name("FILE.json");
    command->get_option("--overwrite")->description("Replace OUT.");
    command->get_option("--fresh")->description("Begin anew instead of going on with what an interrupt left.");
    command->get_option("--prompt")
        ->description("Text that describes the wanted video; for t2v, unset, eight prompts of many kinds.");
    add_flag(*command, "--prompts", "FILE", "A prompt in each line, instead of --prompt; each is rendered once.",
             "Input");
  }
}

void add_check(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    const bool batch = command->get_name() == "batch";
    if (!batch && !task_named(command->get_name())) {
      app.remove_subcommand(command);
      continue;
    }
    add_flag(*command, "--json", "", "Print what was found as one JSON object.", kGeneral);
    if (!batch) continue;
    for (const char* flag : {"--dry-run", "--report"}) command->remove_option(command->get_option(flag));
  }
}

}  // namespace wan
