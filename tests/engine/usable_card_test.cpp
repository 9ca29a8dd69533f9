// What a user reads who asks for a card that cannot be used.
#include "engine/residency/usable_card.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tests/support.h"
#include "tests/support/other_user.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& content) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << content;
}

/// The words in which the device is refused; "taken" where it is not.
std::string answer(const std::string& asked, const CardSituation& situation) {
  return why_no_card(asked, situation).value_or("taken");
}

constexpr const char* kDriver = "580.65.06";

TEST(UsableCard, TheDriverIsFoundOnLinuxAndBelowWindows) {
  TemporaryFolder linux_root, windows, bare;
  EXPECT_FALSE(card_situation(bare.path()).has_driver);
  write(linux_root / "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:\n");
  EXPECT_TRUE(card_situation(linux_root.path()).has_driver);
  EXPECT_EQ(card_situation(linux_root.path()).driver, "535.104.05");
  write(linux_root / "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n");
  EXPECT_EQ(card_situation(linux_root.path()).driver, "580.65.06");
  write(windows / "dev/dxg", "");
  EXPECT_FALSE(card_situation(windows.path()).has_driver) << "another maker's card";
  write(windows / "usr/lib/wsl/lib/libcuda.so.1", "");
  EXPECT_TRUE(card_situation(windows.path()).has_driver);
  EXPECT_EQ(card_situation(windows.path()).driver, "");
}

TEST(UsableCard, AnOldDriverIsToldInsteadOfDaysOnTheProcessor) {
  const CardSituation old{.built = true, .has_driver = true, .driver = "535.104.05"};
  for (const char* asked : {"auto", "cuda", "cuda:1"}) {
    EXPECT_NE(answer(asked, old).find("driver 535.104.05 is older than 580"), std::string::npos) << answer(asked, old);
    EXPECT_NE(answer(asked, old).find("--device cpu"), std::string::npos) << asked;
  }
  const CardSituation shut{.built = true, .has_driver = true, .driver = kDriver};
  EXPECT_NE(answer("auto", shut).find("(580.65.06), but CUDA shows no card"), std::string::npos)
      << answer("auto", shut);
  const CardSituation windows{.built = true, .has_driver = true};
  EXPECT_NE(answer("auto", windows).find("an NVIDIA driver is here, but CUDA shows no card"), std::string::npos)
      << answer("auto", windows);
}

TEST(UsableCard, WithoutDriverOrCudaPartAutoIsTheProcessor) {
  EXPECT_EQ(answer("auto", {}), "taken");
  EXPECT_EQ(answer("auto", {.built = true}), "taken");
  EXPECT_EQ(answer("auto", {.has_driver = true, .driver = kDriver}), "taken");
  EXPECT_EQ(answer("cuda", {.built = true}), "asks for cuda, but no usable NVIDIA device or driver is here; use cpu");
  EXPECT_NE(answer("cuda", {.has_driver = true}).find("./run --cuda"), std::string::npos);
}

TEST(UsableCard, HiddenCardsAndNumbersThatNameNone) {
  CardSituation here{.built = true, .has_driver = true, .driver = kDriver};
  for (const char* none : {"", "-1", "NoDevFiles"}) {
    here.visible = none;
    EXPECT_EQ(answer("auto", here), "taken") << none;
    EXPECT_NE(answer("cuda", here).find("hides every card"), std::string::npos) << none;
  }
  here.visible = "7";
  EXPECT_NE(answer("auto", here).find("CUDA_VISIBLE_DEVICES is '7', which names no card"), std::string::npos)
      << answer("auto", here);
}

TEST(UsableCard, SlicesThatAreNotThereAndMoreThanOneAreTold) {
  CardSituation here{.built = true, .has_driver = true, .driver = kDriver, .visible = "MIG-5c089c10"};
  EXPECT_NE(answer("auto", here).find("CUDA_VISIBLE_DEVICES is 'MIG-5c089c10', which names no slice of a card (MIG)"),
            std::string::npos)
      << answer("auto", here);
  EXPECT_NE(answer("auto", here).find("nvidia-smi -L"), std::string::npos);
  here.usable = 1;
  for (const char* asked : {"auto", "cuda", "cuda:0"}) EXPECT_EQ(answer(asked, here), "taken") << asked;
  here.visible = "MIG-a,MIG-b";
  EXPECT_EQ(answer("cuda:1", here),
            "asks for cuda:1, but there is one device, cuda:0: of the slices in CUDA_VISIBLE_DEVICES ('MIG-a,MIG-b') a "
            "program sees the first alone");
}

TEST(UsableCard, FilesThatAreShutOrMissingAreTold) {
  const CardSituation shut{
      .built = true, .has_driver = true, .driver = kDriver, .shut = {"/dev/nvidia0", "/dev/nvidiactl"}};
  EXPECT_NE(answer("auto", shut).find("(580.65.06), but this user may not open /dev/nvidia0, /dev/nvidiactl; "),
            std::string::npos)
      << answer("auto", shut);
  EXPECT_NE(answer("cuda", shut).find("usermod"), std::string::npos);
  const CardSituation container{.built = true, .has_driver = true, .driver = kDriver, .lacks_files = true};
  EXPECT_NE(answer("auto", container).find("but no /dev/nvidia0; a container wants --gpus all"), std::string::npos)
      << answer("auto", container);
}

TEST(UsableCard, FilesAreLookedAtWhereNoDeviceIsShown) {
  TemporaryFolder root;
  write(root / "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sat\n");
  write(root / "dev/nvidia-modeset", "");
  if (card_situation(root.path()).usable > 0) GTEST_SKIP() << "a card is here: files are not looked at";
  EXPECT_TRUE(card_situation(root.path()).lacks_files) << "none of a card";
  for (const char* name : {"dev/nvidia0", "dev/nvidia12", "dev/nvidiactl", "dev/nvidia-uvm"}) write(root / name, "");
  EXPECT_FALSE(card_situation(root.path()).lacks_files);
  EXPECT_TRUE(card_situation(root.path()).shut.empty());
  for (const fs::path& folder : {root.path(), root / "dev", root / "proc", root / "proc/driver"})
    fs::permissions(folder, fs::perms(0755));
  for (const char* name : {"dev/nvidia-modeset", "dev/nvidia0", "dev/nvidia-uvm"})
    fs::permissions(root / name, fs::perms(0600));
  for (const char* name : {"dev/nvidia12", "dev/nvidiactl"}) fs::permissions(root / name, fs::perms(0666));
  if (geteuid() != 0) GTEST_SKIP() << "what a user owns is open to him";
  const auto shut = as_other_user([&] {
    std::string text;
    for (const std::string& file : card_situation(root.path()).shut) text += file + " ";
    return text;
  });
  if (!shut) GTEST_SKIP() << "root's rights cannot be given up here";
  EXPECT_EQ(*shut, "/dev/nvidia-uvm /dev/nvidia0 ");
}

TEST(UsableCard, FilesOfSlicesThatCannotBeReadAreTold) {
  CardSituation here{.built = true,
                     .has_driver = true,
                     .driver = kDriver,
                     .visible = "MIG-5c089c10",
                     .shut_slices = {"/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13 (not there)"}};
  const std::string text = answer("cuda", here);
  EXPECT_TRUE(text.starts_with(
      "asks for cuda, but an NVIDIA driver is here (580.65.06), but this user cannot read "
      "/dev/nvidia-caps/nvidia-cap12, /dev/nvidia-caps/nvidia-cap13 (not there), which CUDA wants for slices of a card "
      "(MIG), and CUDA_VISIBLE_DEVICES names one ('MIG-5c089c10'); "))
      << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
  here.visible.reset();
  EXPECT_NE(answer("auto", here).find("slices of a card (MIG); `ls -l`"), std::string::npos) << answer("auto", here);
  here.visible = "7";
  EXPECT_NE(answer("auto", here).find("'7', which names no card"), std::string::npos) << "it asks for no slice";
  here.visible = "MIG-5c089c10";
  here.shut = {"/dev/nvidia0"};
  EXPECT_NE(answer("auto", here).find("may not open /dev/nvidia0"), std::string::npos) << "the card's own come first";
}

TEST(UsableCard, FilesOfSlicesAreFoundByTheirNumbers) {
  TemporaryFolder root;
  write(root / "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sat\n");
  const auto access = [&](const char* place, int minor) {
    write(root / "proc/driver/nvidia/capabilities" / place / "access",
          "DeviceFileMinor: " + std::to_string(minor) + "\nDeviceFileMode: 292\nDeviceFileModify: 1\n");
  };
  // No file is there of 3, which configures slices and is none of them.
  access("gpu0/mig/gi1", 12);
  access("gpu0/mig/gi1/ci0", 13);
  access("gpu0/mig/gi2", 21);
  write(root / "proc/driver/nvidia/capabilities/mig/config", "DeviceFileMinor: 3\n");
  write(root / "proc/driver/nvidia/capabilities/gpu0/mig/gi9/access", "DeviceFileMode: 292\n");
  if (card_situation(root.path()).usable > 0) GTEST_SKIP() << "a card is here: files are not looked at";
  for (const char* name : {"12", "21"}) write(root / ("dev/nvidia-caps/nvidia-cap" + std::string(name)), "");
  EXPECT_EQ(card_situation(root.path()).shut_slices,
            std::vector<std::string>{"/dev/nvidia-caps/nvidia-cap13 (not there)"});
  if (geteuid() != 0) GTEST_SKIP() << "what a user owns is open to him";
  for (const auto& entry : fs::recursive_directory_iterator(root.path()))
    fs::permissions(entry.path(), fs::perms(entry.is_directory() ? 0755 : 0644));
  fs::permissions(root.path(), fs::perms(0755));
  fs::permissions(root / "dev/nvidia-caps/nvidia-cap12", fs::perms(0400));
  const auto shut = as_other_user([&] {
    std::string text;
    for (const std::string& file : card_situation(root.path()).shut_slices) text += file + "; ";
    return text;
  });
  if (!shut) GTEST_SKIP() << "root's rights cannot be given up here";
  EXPECT_EQ(*shut, "/dev/nvidia-caps/nvidia-cap12; /dev/nvidia-caps/nvidia-cap13 (not there); ");
}

TEST(UsableCard, OfSeveralCardsOneThatRunsTheKernelsIsTakenAndSaid) {
  EXPECT_EQ(chosen_card({90, 89}), 0);
  EXPECT_EQ(chosen_card({61, 75, 89, 90}), 2) << "the first that our kernels run on";
  EXPECT_EQ(chosen_card({61, 75}), 1) << "libtorch has code for it";
  EXPECT_EQ(chosen_card({61, 52}), 0) << "refused by its own words";
  EXPECT_EQ(chosen_card({0, 0}), 0) << "a build without kernels knows none";
  const std::vector<std::string> two = {"NVIDIA H200", "NVIDIA GeForce RTX 3060"};
  for (const char* asked : {"auto", "cuda"}) {
    const std::string text = card_note(asked, 1, two).value_or("");
    EXPECT_TRUE(
        text.starts_with("of 2 cards cuda:1 (NVIDIA GeForce RTX 3060) is taken; --device takes another: cuda:0 "
                         "(NVIDIA H200). "))
        << text;
  }
  EXPECT_FALSE(card_note("cuda:1", 1, two)) << "the user has chosen";
  EXPECT_FALSE(card_note("auto", 0, {"NVIDIA H200"}));
  EXPECT_TRUE(
      card_note("auto", 0, {"", ""})->starts_with("of 2 cards cuda:0 is taken; --device takes another: cuda:1."));
  tell_card("auto", Placement{}, Log{[](std::string_view, const Log::Fields& fields) { ADD_FAILURE() << fields; }});
}

TEST(UsableCard, OfTwoCardsEachHasItsNumber) {
  CardSituation two{.built = true, .usable = 2, .has_driver = true, .driver = kDriver};
  for (const char* asked : {"auto", "cuda", "cuda:0", "cuda:1"}) EXPECT_EQ(answer(asked, two), "taken") << asked;
  EXPECT_EQ(answer("cuda:2", two), "asks for cuda:2, but there are 2 devices, cuda:0 to cuda:1");
  two.usable = 1;
  two.visible = "1";
  EXPECT_EQ(answer("cuda:1", two),
            "asks for cuda:1, but there is one device, cuda:0; CUDA_VISIBLE_DEVICES is '1' and numbers them anew");
}

TEST(UsableCard, ACardThatLibtorchHasNoCodeForIsRefused) {
  for (int taken : {0, 75, 80, 89, 90, 120}) EXPECT_FALSE(why_too_old(taken)) << taken;
  for (int old : {50, 61, 70}) EXPECT_NE(why_too_old(old).value_or("").find("7.5 and newer"), std::string::npos) << old;
  EXPECT_NE(why_too_old(61)->find("compute capability 6.1"), std::string::npos);
}

TEST(UsableCard, APrecisionThatIsSlowerOnACardIsTold) {
  for (Precision lower : {Precision::Balanced, Precision::Fast}) {
    EXPECT_TRUE(precision_warning(lower, 90, false));
    EXPECT_FALSE(precision_warning(lower, 90, true));
    for (int other : {80, 86, 89, 100, 120}) EXPECT_FALSE(precision_warning(lower, other, false)) << other;
  }
  EXPECT_FALSE(precision_warning(Precision::Exact, 90, false));
  EXPECT_FALSE(precision_warning(Precision::Fp8, 90, false));
  EXPECT_NE(precision_warning(Precision::Balanced, 90, false)->find("not been measured"), std::string::npos);
  warn_of_precision(Placement{}, Log{[](std::string_view, const Log::Fields& fields) { ADD_FAILURE() << fields; }});
}

TEST(UsableCard, ASliceComputesAsMuchAsItIs) {
  EXPECT_EQ(mig_share("NVIDIA H100 80GB HBM3"), 1);
  EXPECT_DOUBLE_EQ(mig_share("NVIDIA H100 80GB HBM3 MIG 1g.10gb"), 1.0 / 7);
  EXPECT_DOUBLE_EQ(mig_share("NVIDIA H200 MIG 3g.71gb"), 3.0 / 7);
  EXPECT_DOUBLE_EQ(mig_share("NVIDIA A30 MIG 2g.12gb"), 0.5);
  EXPECT_EQ(mig_share("NVIDIA H200 MIG unknown"), 1);
  const Card& whole = *card_named("H100");
  const Card slice = slice_of(whole, 1.0 / 7);
  EXPECT_DOUBLE_EQ(slice.tflops16, whole.tflops16 / 7);
  EXPECT_DOUBLE_EQ(slice.bandwidth, whole.bandwidth / 7);
  EXPECT_EQ(slice.link, whole.link);
}

}  // namespace
}  // namespace wan
