package main

import (
	"fmt"
	"math/rand"
	"sort"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// server keeps a tree and answers as the masters should; a bug changes one thing about that.
type server struct {
	random *rand.Rand
	bug    string
	now    *tree
	// Trees of the past, the latest last.
	past []*tree
	// Entries that were removed.
	removed []entry
	nextID  int
	// How often the bug showed.
	shown int
}

func (s *server) isBad(bug string) bool {
	if s.bug != bug || s.random.Intn(3) != 0 {
		return false
	}
	s.shown++
	return true
}

func (s *server) stale() *tree {
	if len(s.past) < 4 {
		return s.now
	}
	return s.past[len(s.past)-4]
}

// answer fills in what a correct server would say to a question about this tree.
func answer(t *tree, o *Operation) {
	o.Result = ok
	if o.Kind == "exists" {
		o.DoesExist = o.Path == "" || t.find(o.Path) != nil
		return
	}
	e := t.find(o.Path)
	if e == nil && o.Path != "" {
		o.Result = notFound
		return
	}
	switch o.Kind {
	case "stat":
		o.ID, o.IsDirectory = e.id, e.isDirectory
		if !e.isDirectory {
			o.IsCompleted = e.isCompleted
			if e.isCompleted {
				o.LengthBytes = e.lengthBytes
			}
		}
	case "list":
		shown := t.children(o.Path)
		if e != nil && !e.isDirectory {
			shown = []entry{*e}
		}
		for _, child := range shown {
			name := child.path
			for i := len(name) - 1; i >= 0; i-- {
				if name[i] == '/' {
					name = name[i+1:]
					break
				}
			}
			o.Children = append(o.Children, Child{name, child.id, child.isDirectory, child.isCompleted})
		}
	case "read":
		if e.isDirectory || !e.isCompleted {
			o.Result = failedPrecondition
			return
		}
		o.Content = e.content
	}
}

// A real server knows everything that the model leaves open.
func (s *server) settle(t *tree) *tree {
	entries := append([]entry(nil), t.entries...)
	for i := range entries {
		if entries[i].id == "" {
			s.nextID++
			entries[i].id = fmt.Sprint(s.nextID)
		}
		if entries[i].isContentOpen {
			entries[i].isContentOpen = false
			if s.random.Intn(2) == 0 {
				entries[i].content, entries[i].lengthBytes = "", 0
			}
		}
	}
	return newTree(entries)
}

func (s *server) become(t *tree) {
	s.past = append(s.past, s.now)
	s.now = s.settle(t)
}

func (s *server) ask(o *Operation) {
	seen := s.now
	if s.isBad("stale "+o.Kind) || s.isBad("stale reads") {
		seen = s.stale()
	}
	answer(seen, o)
	switch {
	case o.Result != ok:
	case o.Kind == "list" && len(o.Children) > 0 && s.isBad("list omits a name"):
		o.Children = o.Children[1:]
	case o.Kind == "list" && s.isBad("list shows a ghost"):
		o.Children = append(o.Children, Child{Name: "ghost", ID: "-1"})
	case o.Kind == "list" && len(o.Children) > 1 && s.isBad("list swaps ids"):
		o.Children[0].ID, o.Children[1].ID = o.Children[1].ID, o.Children[0].ID
	case o.Kind == "read" && o.Content != "" && s.isBad("read gives nothing"):
		o.Content = ""
	case o.Kind == "read" && o.Content != "" && s.isBad("read gives damaged bytes"):
		o.Content = "damaged"
	case o.Kind == "stat" && s.isBad("stat gives another id"):
		o.ID += "0"
	case o.Kind == "stat" && !o.IsDirectory && s.isBad("stat gives another length"):
		if o.IsCompleted {
			o.LengthBytes++
		}
	case o.Kind == "stat" && !o.IsDirectory && s.isBad("stat of a file as a directory"):
		o.IsDirectory = true
	}
}

func (s *server) do(o *Operation) {
	if o.Kind == "stat" || o.Kind == "exists" || o.Kind == "list" || o.Kind == "read" {
		s.ask(o)
		return
	}
	before := s.now
	result, after := before.change(o)
	o.Result = result
	target := before.find(o.Path)
	switch {
	case o.Kind == "create" && result == alreadyExists && s.isBad("two winners of create"):
		o.Result = ok
	case o.Kind == "mkdir" && result == alreadyExists && s.isBad("two winners of mkdir"):
		o.Result = ok
	case o.Kind == "mkdir" && result == notFound && s.isBad("mkdir without a parent"):
		o.Result = ok
	case o.Kind == "rename" && result == alreadyExists && o.Path != o.To && s.isBad("rename replaces"):
		o.Result, after = ok, before.without(o.To).moved(o.Path, o.To)
	case o.Kind == "delete" && result == failedPrecondition && s.isBad("delete of a full directory"):
		o.Result, after = ok, before.without(o.Path)
	case result != ok:
	case s.isBad("lost " + o.Kind):
		after = before
	case s.isBad("refused but done: " + o.Kind):
		// The answer was lost, and the repeated call is not known for what it is.
		o.Result = alreadyExists
		if o.Kind == "delete" || o.Kind == "rename" {
			o.Result = notFound
		}
	case o.Kind == "rename" && o.Path != o.To && s.isBad("rename loses what it moves"):
		after = before.without(o.Path)
	case o.Kind == "rename" && !target.isDirectory && o.Path != o.To && s.isBad("rename leaves a copy"):
		after = after.with(*target)
	case o.Kind == "rename" && target.isDirectory && len(before.children(o.Path)) > 0 && s.isBad("rename loses children"):
		moved := *after.find(o.To)
		after = after.without(o.To).with(moved)
	case o.Kind == "delete" && target.isDirectory && len(before.children(o.Path)) > 0 && s.isBad("delete leaves children"):
		for _, child := range before.children(o.Path) {
			after = after.with(child)
		}
	case s.isBad("acknowledged changes are forgotten in a fail-over"):
		after = s.stale()
	}
	if o.Kind == "delete" && o.Result == ok && target != nil {
		s.removed = append(s.removed, *target)
	}
	if len(s.removed) > 0 && s.isBad("a deleted name comes back") {
		back := s.removed[len(s.removed)-1]
		if after.find(back.path) == nil && after.refusal(back.path) == "" {
			after = after.with(back)
		}
	}
	if o.Kind == "create" && o.Result == ok {
		s.nextID++
		o.ID = fmt.Sprint(s.nextID)
		if made := after.find(o.Path); made != nil && made.id == "" {
			known := *made
			known.id = o.ID
			after = after.with(known)
		}
	}
	s.become(after)
}

var directories = []string{"d0", "d1", "d2"}
var leaves = []string{"a", "b", "c", "d0", "d1", "d2"}

func somePath(random *rand.Rand) string {
	leaf := leaves[random.Intn(len(leaves))]
	if random.Intn(2) == 0 {
		return leaf
	}
	return directories[random.Intn(len(directories))] + "/" + leaf
}

var kinds = []string{
	"mkdir", "mkdir", "create", "create", "complete", "write", "delete", "delete", "rename", "rename",
	"stat", "stat", "stat", "exists", "list", "list", "read",
}

func someOperation(random *rand.Rand, number int, written *[]Operation) Operation {
	o := Operation{Kind: kinds[random.Intn(len(kinds))], Path: somePath(random), IsRecursive: random.Intn(2) == 0}
	switch o.Kind {
	case "mkdir":
		if random.Intn(2) == 0 {
			o.Path = directories[random.Intn(len(directories))]
		}
	case "rename":
		o.To = somePath(random)
	case "list":
		if random.Intn(2) == 0 {
			o.Path = ""
		}
	case "create":
		if random.Intn(2) == 0 {
			o.Path = fmt.Sprintf("w%d", number)
			o.Content, o.LengthBytes = "content of "+o.Path, int64(10+number)
			*written = append(*written, o)
		}
	case "write":
		if len(*written) == 0 {
			o.Kind = "stat"
			break
		}
		last := len(*written) - 1
		o = (*written)[last]
		o.Kind = "write"
		*written = (*written)[:last]
	case "read", "stat":
		if random.Intn(2) == 0 {
			o.Path = fmt.Sprintf("w%d", random.Intn(number+1))
		}
	}
	if o.Kind != "delete" {
		o.IsRecursive = false
	}
	return o
}

// generate lets clients work on a server at the same time: each operation takes effect at one moment between its start
// and its end; some are never answered, and take effect then, later or never.
func generate(seed int64, bug string, length int) ([]Operation, int) {
	random := rand.New(rand.NewSource(seed))
	s := &server{random: random, bug: bug, now: newTree(nil)}
	var history, written, late []Operation
	clients := 4
	busyUntil := make([]int64, clients)
	type planned struct {
		o      Operation
		effect int64
	}
	var plan []planned
	for i := 0; i < length; i++ {
		client := random.Intn(clients)
		start := busyUntil[client] + int64(random.Intn(5))
		effect := start + 1 + int64(random.Intn(10))
		end := effect + 1 + int64(random.Intn(10))
		busyUntil[client] = end + 1
		plan = append(plan, planned{Operation{Client: client, Start: start, End: end}, effect})
	}
	sort.Slice(plan, func(i, j int) bool { return plan[i].effect < plan[j].effect })
	for i, p := range plan {
		o := someOperation(random, i, &written)
		o.Client, o.Start, o.End = p.o.Client, p.o.Start, p.o.End
		isUnknown := random.Intn(40) == 0
		isChange := o.Kind != "stat" && o.Kind != "exists" && o.Kind != "list" && o.Kind != "read"
		switch {
		case !isUnknown || !isChange:
			s.do(&o)
		case random.Intn(3) == 0: // never
			o.Result = unknown
		default:
			again := o
			s.do(&o)
			o.Result, o.ID = unknown, ""
			if bug == "an unknown change happens twice" {
				late = append(late, again)
			}
		}
		if len(late) > 0 && random.Intn(3) == 0 {
			if result, after := s.now.change(&late[0]); result == ok {
				s.become(after)
				s.shown++
				late = late[1:]
			}
		}
		history = append(history, o)
	}
	// What is there at the end.
	at := plan[len(plan)-1].effect + 1000
	for _, path := range append([]string{"", "a", "b", "c"}, directories...) {
		o := Operation{Kind: "list", Path: path, Start: at, End: at + 1}
		s.ask(&o)
		history = append(history, o)
		at += 2
	}
	return history, s.shown
}

func check(history []Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, toPorcupine(history), 30*time.Second)
}

func TestHistoriesWithoutABugAreLegal(t *testing.T) {
	for seed := int64(1); seed <= 200; seed++ {
		history, _ := generate(seed, "", 150)
		if result := check(history); result != porcupine.Ok {
			t.Fatalf("seed %d: %s", seed, result)
		}
	}
}

var bugs = []string{
	"lost create", "lost mkdir", "lost delete", "lost rename", "lost complete", "lost write",
	"stale stat", "stale list", "stale exists", "stale read", "stale reads",
	"refused but done: create", "refused but done: mkdir", "refused but done: delete", "refused but done: rename",
	"two winners of create", "two winners of mkdir", "mkdir without a parent",
	"a deleted name comes back", "an unknown change happens twice",
	"acknowledged changes are forgotten in a fail-over",
	"rename replaces", "rename loses what it moves", "rename leaves a copy", "rename loses children",
	"delete of a full directory", "delete leaves children",
	"list omits a name", "list shows a ghost", "list swaps ids",
	"read gives nothing", "read gives damaged bytes",
	"stat gives another id", "stat gives another length", "stat of a file as a directory",
}

// Each is found in most of the histories in which it shows, and in one of the first twenty at the latest.
func TestEveryPlantedBugIsFound(t *testing.T) {
	for _, bug := range bugs {
		t.Run(bug, func(t *testing.T) {
			shown, found := 0, 0
			for seed := int64(1); seed <= 20; seed++ {
				history, count := generate(seed, bug, 150)
				if count == 0 {
					continue
				}
				shown++
				if check(history) == porcupine.Illegal {
					found++
				}
			}
			if found == 0 {
				t.Fatalf("found in none of %d histories", shown)
			}
			t.Logf("found in %d of %d histories", found, shown)
		})
	}
}

// Where one end of the model's freedom is: what it leaves open is settled once.
func TestWhatIsLeftOpenIsSettledOnce(t *testing.T) {
	made := Operation{Kind: "mkdir", Path: "d", Start: 1, End: 2, Result: ok}
	see := func(at int64, id string) Operation {
		return Operation{Kind: "stat", Path: "d", Start: at, End: at + 1, Result: ok, ID: id, IsDirectory: true}
	}
	if check([]Operation{made, see(3, "7"), see(5, "7")}) != porcupine.Ok {
		t.Fatal("an id may show later")
	}
	if check([]Operation{made, see(3, "7"), see(5, "8")}) != porcupine.Illegal {
		t.Fatal("an id does not change")
	}
	file := []Operation{
		{Kind: "create", Path: "f", Content: "x", LengthBytes: 9, ID: "1", Start: 1, End: 2, Result: ok},
		{Kind: "complete", Path: "f", Start: 3, End: 4, Result: ok},
	}
	read := func(at int64, content string) Operation {
		return Operation{Kind: "read", Path: "f", Content: content, Start: at, End: at + 1, Result: ok}
	}
	for _, content := range []string{"", "x"} {
		if check(append(append([]Operation{}, file...), read(5, content), read(7, content))) != porcupine.Ok {
			t.Fatalf("who completes another's file may find %q in it", content)
		}
	}
	if check(append(append([]Operation{}, file...), read(5, ""), read(7, "x"))) != porcupine.Illegal {
		t.Fatal("a completed file does not change")
	}
}
