#include "modules/shared/split_clients.h"

#include "confparse/value.h"

namespace weir::shared {

uint32_t murmur_hash2(std::string_view text) {
  constexpr uint32_t kMultiplier = 0x5bd1e995;
  const auto byte = [&](size_t at) { return uint32_t{static_cast<unsigned char>(text[at])}; };
  auto hash = static_cast<uint32_t>(text.size());
  size_t at = 0;
  for (; at + 4 <= text.size(); at += 4) {
    uint32_t word = byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | byte(at + 3) << 24;
    word *= kMultiplier;
    word ^= word >> 24;
    hash = hash * kMultiplier ^ word * kMultiplier;
  }
  const size_t rest = text.size() - at;
  for (size_t i = 0; i < rest; ++i) hash ^= byte(at + i) << (8 * i);
  if (rest > 0) hash *= kMultiplier;
  hash ^= hash >> 13;
  hash *= kMultiplier;
  return hash ^ hash >> 15;
}

namespace {

conf::Value evaluate_split(conf::VariableSource& source, const conf::Variable& variable) {
  return reinterpret_cast<const SplitClients*>(variable.data)->evaluate(source);
}

}  // namespace

std::unique_ptr<SplitClients> SplitClients::define(conf::Compiler& compiler,
                                                   const conf::Statement& statement) {
  const conf::Word& name = statement.words[2];
  if (!name.text.starts_with("$") || name.text.size() == 1) {
    compiler.error(statement, "invalid variable name \"" + std::string(name.text) + "\"",
                   "the second word is the variable that it defines: it begins with $", &name);
    return nullptr;
  }
  conf::Variable variable;
  variable.name = name.text.substr(1);
  variable.get = evaluate_split;
  variable.changeable = true;
  if (const conf::Variable* known = compiler.variables().find(variable.name);
      known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + variable.name + "\" variable", {}, &name);
    return nullptr;
  }
  auto split = read(compiler, statement);
  if (!split) return nullptr;
  variable.data = reinterpret_cast<uintptr_t>(split.get());
  split->source_.for_each_variable([&](conf::VariableId id) { variable.reads.push_back(id); });
  compiler.variables().define(variable);
  return split;
}

std::unique_ptr<SplitClients> SplitClients::read(conf::Compiler& compiler,
                                                 const conf::Statement& statement) {
  constexpr int64_t kWhole = 10000;  // hundredths of a percent
  auto split = std::make_unique<SplitClients>();
  split->source_ = compiler.make_template(statement, statement.words[1]);
  int64_t total = 0;
  uint64_t end = 0;
  for (const conf::Statement& line : statement.block->statements) {
    if (line.included || line.block) continue;  // a block here was reported when it was read
    const std::string_view share = line.name();
    if (line.words.size() != 2) {
      compiler.error(line, "invalid number of the split_clients parameters",
                     "a line is a share and a value: 10% one;");
      return nullptr;
    }
    Part part;
    part.value = line.argument(0);
    if (share == "*") {
      total = std::max(total, kWhole);
    } else {
      const auto percent = share.ends_with('%')
                               ? conf::parse_fixed(share.substr(0, share.size() - 1), 2)
                               : std::nullopt;
      if (!percent || *percent == 0) {
        compiler.error(line, "invalid percent value \"" + std::string(share) + "\"",
                       "a share is a percentage such as 0.5%, or * for the rest");
        return nullptr;
      }
      total += *percent;
      end += static_cast<uint64_t>(std::min(*percent, kWhole + 1)) * 0xffffffff / kWhole;
      part.end = static_cast<uint32_t>(end);
    }
    if (total > kWhole) {
      compiler.error(line, "percent total is greater than 100%");
      return nullptr;
    }
    split->parts_.push_back(std::move(part));
  }
  return split;
}

conf::Value SplitClients::evaluate(conf::VariableSource& source) const {
  const uint32_t hash = murmur_hash2(source_.evaluate(source));
  for (const Part& part : parts_) {
    if (part.end == 0 || hash < part.end) return conf::Value::of(part.value);
  }
  return conf::Value::of("");
}

}  // namespace weir::shared
