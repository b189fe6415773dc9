#include "confparse/parser.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "confparse/lexer.h"

namespace weir::conf {

namespace {

// Blocks whose lines are no directives.
bool holds_data(std::string_view block) {
  return block == "map" || block == "types" || block == "geo" || block == "split_clients" ||
         block == "charset_map";
}

// Reading stops after so many problems.
constexpr size_t kMostProblems = 200;

// "open() "PATH" failed (2: No such file or directory)"; a long path is cut as nginx cuts it, to
// leave room for the reason.
std::string failed(const char* call, const std::string& path, int error) {
  constexpr size_t kMost = 974;
  std::string text = std::string(call) + "() \"" + path + "\" failed";
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text + " (" + std::to_string(error) + ": " + std::strerror(error) + ")";
}

class Parser {
 public:
  Parser(World& world, Sources& sources, const ParseOptions& options, Tree& tree)
      : world_(world), sources_(sources), options_(options), tree_(tree) {}

  void main_file(const std::string& path);
  void text(FileId file) { parse_file(file); }
  void finish();

 private:
  enum class Stop : uint8_t { none, closed, end, halted };
  struct Frame {
    Lexer& lexer;
    FileId file;
    const Statement* owner;  // the statement whose block is read; null for a file
    std::string_view owner_name;
  };

  void parse_file(FileId file, std::string_view owner_name = {});
  Stop statements(Frame& frame);
  Stop finish_statement(Frame& frame, size_t words_begin, const Token& terminator);
  Stop open_block(Frame& frame, Statement& statement);
  Stop unexpected_end(Frame& frame, size_t words_begin);
  void missing_semicolon(const Frame& frame, size_t words_begin, const Token& close);
  void stray_close(const Token& close);
  void expand_include(const Frame& frame, const Statement& statement);
  void include_file(const Frame& frame, const std::string& path, const Statement& statement);
  FileId read(const std::string& path, const Statement* at);
  Diagnostic& problem(std::string text, Span place, Span span, std::string help = {});
  void include_problem(const Statement& at, std::string text, std::string help);
  bool is_command_line(FileId file) const {
    return sources_.kind(file) == Sources::Kind::command_line;
  }

  World& world_;
  Sources& sources_;
  const ParseOptions& options_;
  Tree& tree_;
  std::vector<Statement> open_statements_;  // of all blocks that are being read, outer first
  std::vector<Word> words_;
  std::vector<FileId> include_stack_;
  uint32_t number_ = 0;
  uint32_t depth_ = 0;
  uint32_t includes_ = 0;
  uint64_t bytes_ = 0;
  bool halted_ = false;
  Span end_;
};

Diagnostic& Parser::problem(std::string text, Span place, Span span, std::string help) {
  Diagnostic diagnostic;
  diagnostic.text = std::move(text);
  diagnostic.placed = place.file != 0;
  diagnostic.nginx_place = place;
  diagnostic.span = span;
  diagnostic.help = std::move(help);
  diagnostic.number = ++number_;
  if (tree_.problems.size() >= kMostProblems) halted_ = true;
  return tree_.problems.emplace_back(std::move(diagnostic));
}

void Parser::include_problem(const Statement& at, std::string text, std::string help) {
  problem(std::move(text), at.terminator, at.words.back().span, std::move(help));
}

void Parser::main_file(const std::string& path) {
  tree_.file = read(path, nullptr);
  if (tree_.file) parse_file(tree_.file);
}

void Parser::finish() {
  tree_.root.statements = tree_.arena.copy(open_statements_.data(), open_statements_.size());
  tree_.root.close = end_;
  tree_.root.end_number = ++number_;
}

FileId Parser::read(const std::string& path, const Statement* at) {
  const Span place = at ? at->terminator : Span{};
  const Span span = at ? at->words.back().span : Span{};
  if (const FileId known = sources_.find(path)) {
    bytes_ += sources_.text(known).size();
    return known;
  }
  Answer<std::string> answer = world_.read_file(path);
  if (answer.ok()) {
    bytes_ += answer.value.size();
    return sources_.add(path, std::move(answer.value), at ? at->terminator : Span{});
  }
  if (answer.error == EISDIR) {
    Diagnostic& diagnostic =
        problem(failed("pread", path, EISDIR), {}, span,
                "this is a folder; to include its files write " + path +
                    (path.ends_with('/') ? "*" : "/*") + " or a pattern like it");
    diagnostic.severity = Severity::crit;
    return 0;
  }
  std::string help;
  if (answer.error == EFBIG) help = "the file is larger than a configuration may be";
  problem(failed("open", path, answer.error), place, span, std::move(help));
  return 0;
}

void Parser::parse_file(FileId file, std::string_view owner_name) {
  Lexer lexer(file, sources_.text(file), tree_.arena, Lexer::Comments::skip,
              !is_command_line(file));
  Frame frame{lexer, file, nullptr, owner_name};
  include_stack_.push_back(file);
  statements(frame);
  include_stack_.pop_back();
  if (include_stack_.empty()) end_ = {file, lexer.offset(), lexer.offset()};
}

// Reads statements up to the '}' or the end that closes them.
Parser::Stop Parser::statements(Frame& frame) {
  size_t words_begin = words_.size();
  while (!halted_) {
    Token token = frame.lexer.next();
    switch (token.kind) {
      case TokenKind::word:
        words_.push_back(token.word);
        continue;
      case TokenKind::comment:
        continue;
      case TokenKind::end:
        return unexpected_end(frame, words_begin);
      case TokenKind::error:
        problem(token.message, token.word.span, token.word.span,
                token.open_quote ? "the quote that opens here is never closed" : "");
        halted_ = true;
        break;
      case TokenKind::close:
        if (words_.size() > words_begin)
          missing_semicolon(frame, words_begin, token);
        else if (!frame.owner)
          stray_close(token);
        if (frame.owner) {
          end_ = token.word.span;
          return Stop::closed;
        }
        continue;
      case TokenKind::semicolon:
      case TokenKind::open: {
        if (words_.size() > words_begin) {
          if (finish_statement(frame, words_begin, token) == Stop::halted) break;
          continue;
        }
        const bool open = token.kind == TokenKind::open;
        problem(
            open ? "unexpected \"{\"" : "unexpected \";\"", token.word.span, token.word.span,
            open ? "a block needs a name before its \"{\"" : "there is no statement to end here");
        if (open) halted_ = true;
        continue;
      }
    }
  }
  words_.resize(words_begin);
  return Stop::halted;
}

Parser::Stop Parser::finish_statement(Frame& frame, size_t words_begin, const Token& terminator) {
  Statement statement;
  statement.words = tree_.arena.copy(words_.data() + words_begin, words_.size() - words_begin);
  words_.resize(words_begin);
  statement.terminator = terminator.word.span;
  statement.number = ++number_;
  if (terminator.kind == TokenKind::open) {
    if (holds_data(frame.owner_name)) {
      problem(
          "unexpected \"{\"", statement.terminator, statement.terminator,
          "the block of \"" + std::string(frame.owner_name) + "\" holds lines of data, no blocks");
    }
    return open_block(frame, statement);
  }

  const bool is_include = statement.name() == "include" && statement.argument_count() == 1 &&
                          frame.owner_name != "split_clients" && frame.owner_name != "charset_map";
  statement.included = is_include;
  open_statements_.push_back(statement);
  if (is_include) expand_include(frame, statement);
  return halted_ ? Stop::halted : Stop::none;
}

Parser::Stop Parser::open_block(Frame& frame, Statement& statement) {
  if (is_command_line(frame.file)) {
    problem("block directives are not supported in -g option", statement.terminator,
            statement.words[0].span);
    halted_ = true;
    return Stop::halted;
  }
  if (depth_ >= options_.limits.block_depth) {
    problem("blocks are nested too deeply", statement.terminator, statement.words[0].span,
            "more than " + std::to_string(options_.limits.block_depth) + " levels");
    halted_ = true;
    return Stop::halted;
  }
  Block* block = tree_.arena.make<Block>();
  statement.block = block;
  const size_t base = open_statements_.size();
  Frame inner{frame.lexer, frame.file, &statement, statement.name()};
  ++depth_;
  const Stop stop = statements(inner);
  --depth_;
  block->statements =
      tree_.arena.copy(open_statements_.data() + base, open_statements_.size() - base);
  block->close =
      stop == Stop::closed ? end_ : Span{frame.file, frame.lexer.offset(), frame.lexer.offset()};
  block->end_number = ++number_;
  open_statements_.resize(base);
  open_statements_.push_back(statement);
  return halted_ ? Stop::halted : Stop::none;
}

// A '}' after words: nginx stops here. The block is taken as closed and the unfinished statement
// dropped, so that what follows is still read for further problems.
void Parser::missing_semicolon(const Frame& frame, size_t words_begin, const Token& close) {
  const Word& first = words_[words_begin];
  const Word& last = words_.back();
  const uint32_t line = sources_.locate(frame.file, first.span.begin).line;
  problem("unexpected \"}\"", close.word.span, {frame.file, last.span.end - 1, last.span.end},
          "the statement \"" + std::string(first.text.substr(0, 60)) + "\" of line " +
              std::to_string(line) + " has no \";\" at its end");
  words_.resize(words_begin);
}

void Parser::stray_close(const Token& close) {
  problem("unexpected \"}\"", close.word.span, close.word.span,
          "no block is open here: there is one \"}\" too many, or one \"{\" too few above");
}

Parser::Stop Parser::unexpected_end(Frame& frame, size_t words_begin) {
  const uint32_t offset = frame.lexer.offset();
  const Span here{frame.file, offset, offset};
  const bool unfinished = words_.size() > words_begin || frame.lexer.ended_inside_word();
  if (!unfinished && !frame.owner) return Stop::end;
  halted_ = true;
  if (unfinished) {
    const bool quote = frame.lexer.ended_inside_word() && frame.lexer.unfinished_quote();
    const uint32_t begin = words_.size() > words_begin && !quote ? words_[words_begin].span.begin
                                                                 : frame.lexer.unfinished_word();
    const char* text = is_command_line(frame.file)
                           ? "unexpected end of parameter, expecting \";\""
                           : "unexpected end of file, expecting \";\" or \"}\"";
    problem(text, here, {frame.file, begin, begin + 1},
            quote ? "the quote that opens here is never closed"
                  : "the statement that begins here has no \";\" at its end");
  } else {
    problem("unexpected end of file, expecting \"}\"", here, frame.owner->words[0].span,
            "the block of \"" + std::string(frame.owner->name().substr(0, 60)) +
                "\" that opens here is never closed");
  }
  words_.resize(words_begin);
  return Stop::halted;
}

void Parser::expand_include(const Frame& frame, const Statement& statement) {
  // nginx's paths are C strings.
  std::string path(statement.argument(0).substr(0, statement.argument(0).find('\0')));
  if (!path.starts_with('/')) path = options_.conf_prefix + path;
  // `geo` takes its include's name as it is.
  if (frame.owner_name == "geo" || path.find_first_of("*?[") == std::string::npos) {
    include_file(frame, path, statement);
    return;
  }
  const Answer<std::vector<std::string>> files = world_.expand(path);
  if (!files.ok()) {
    include_problem(statement, failed("glob", path, files.error), {});
    return;
  }
  for (const std::string& file : files.value) {
    if (halted_) return;
    include_file(frame, file, statement);
  }
}

void Parser::include_file(const Frame& frame, const std::string& path, const Statement& statement) {
  const ParseLimits& limits = options_.limits;
  const FileId file = read(path, &statement);
  if (!file) return;
  // nginx goes in circles until it has no descriptors left, or something in the file is wrong where
  // it is included: that is seen in the second round.
  if (std::count(include_stack_.begin(), include_stack_.end(), file) > 1) {
    include_problem(statement, failed("open", path, EMFILE), "the file includes itself");
    return;
  }
  if (include_stack_.size() >= limits.include_depth || ++includes_ > limits.includes ||
      bytes_ > limits.total_bytes) {
    include_problem(statement, failed("open", path, EMFILE),
                    "the configuration includes too many files, or too much text");
    halted_ = true;
    return;
  }
  parse_file(file, frame.owner_name);
}

}  // namespace

Tree parse_configuration(World& world, Sources& sources, const std::string& path,
                         const ParseOptions& options) {
  Tree tree;
  Parser parser(world, sources, options, tree);
  if (!options.global_directives.empty()) {
    parser.text(
        sources.add("command line", options.global_directives, {}, Sources::Kind::command_line));
  }
  parser.main_file(path);
  parser.finish();
  return tree;
}

Tree parse_source(World& world, Sources& sources, FileId file, const ParseOptions& options) {
  Tree tree;
  tree.file = file;
  Parser parser(world, sources, options, tree);
  parser.text(file);
  parser.finish();
  return tree;
}

}  // namespace weir::conf
