// Runs Debian's `nginx -t` over the golden files and compares its lines with those that the files
// expect: the texts and line numbers in them are nginx's, not ours. Exits with 77 (skipped) where
// no nginx is installed. Files marked "(oracle: no, …)" are left out, and counted.

#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "golden_case.h"

namespace {

namespace fs = std::filesystem;
using weir::conf::test::GoldenCase;

constexpr const char* kNginx = "/usr/sbin/nginx";

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return out;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) out.append(buffer, n);
  pclose(pipe);
  return out;
}

// The lines "nginx: [level] …" of a text, the folder's name replaced by `name`.
std::string log_lines(const std::string& text, const std::string& folder, const std::string& name) {
  std::string lines;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with("nginx: [")) continue;
    if (line.find("[warn] the \"user\" directive makes sense only") != line.npos) continue;
    if (line.find("could not open error log") != line.npos) continue;
    for (size_t found = 0; !folder.empty() && (found = line.find(folder, found)) != line.npos;) {
      line.replace(found, folder.size(), name);
    }
    lines += line + "\n";
  }
  return lines;
}

std::string nginx_lines(const GoldenCase& golden, const fs::path& folder) {
  fs::remove_all(folder);
  for (const auto& [name, text] : golden.files) {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << text;
  }
  const std::string prefix = folder.string() + "/";
  const std::string printed =
      output_of(std::string(kNginx) + " -t -p " + prefix + " -c " + prefix +
                "nginx.conf -e /dev/null -g 'pid " + prefix + "pid; error_log /dev/null;' 2>&1");
  return log_lines(printed, prefix, weir::conf::test::kGoldenFolder);
}

}  // namespace

int main() {
  if (access(kNginx, X_OK) != 0) {
    std::printf("no nginx here: nothing compared\n");
    return 77;
  }
  char folder[] = "/tmp/weir-golden-XXXXXX";
  if (!mkdtemp(folder)) return 1;
  int same = 0;
  int different = 0;
  int left_out = 0;
  for (const fs::path& path : weir::conf::test::golden_paths()) {
    const GoldenCase golden = weir::conf::test::read_golden(path);
    if (!golden.not_for_oracle.empty()) {
      ++left_out;
      continue;
    }
    const std::string theirs = nginx_lines(golden, fs::path(folder) / "case");
    const std::string ours = log_lines(golden.expected, "", "");
    if (theirs == ours) {
      ++same;
      continue;
    }
    ++different;
    std::printf("%s\n  nginx: %s\n  file:  %s\n", path.filename().c_str(), theirs.c_str(),
                ours.c_str());
  }
  fs::remove_all(folder);
  std::printf("%d as nginx, %d different, %d left out\n", same, different, left_out);
  return different == 0 ? 0 : 1;
}
