// Command checker judges whether what clients saw of a file tree is linearizable.
//
// The model is the contract of the namespace for one partition, a folder that exists from the beginning and that no
// operation leaves. It is deterministic: which refusal a call gets follows from the tree. What the history does not
// tell when a thing is made (the id of a directory, whether bytes were committed before somebody else completed the
// file) is left open in the state, and is settled by the first operation that shows it.
package main

import (
	"sort"
	"strings"
)

// Child is an entry of a listing.
type Child struct {
	Name        string `json:"name"`
	ID          string `json:"id"`
	IsDirectory bool   `json:"isDirectory"`
	IsCompleted bool   `json:"isCompleted"`
}

// Operation is a line of the history; see test/chaos/history.ts.
type Operation struct {
	Client      int     `json:"client"`
	Kind        string  `json:"kind"`
	Partition   string  `json:"partition"`
	Path        string  `json:"path"`
	To          string  `json:"to"`
	IsRecursive bool    `json:"isRecursive"`
	Start       int64   `json:"start"`
	End         int64   `json:"end"`
	Result      string  `json:"result"`
	ID          string  `json:"id"`
	Content     string  `json:"content"`
	IsDirectory bool    `json:"isDirectory"`
	IsCompleted bool    `json:"isCompleted"`
	LengthBytes int64   `json:"lengthBytes"`
	DoesExist   bool    `json:"doesExist"`
	Children    []Child `json:"children"`
}

const (
	ok                 = "ok"
	unknown            = "unknown"
	notFound           = "NOT_FOUND"
	alreadyExists      = "ALREADY_EXISTS"
	failedPrecondition = "FAILED_PRECONDITION"
	invalidArgument    = "INVALID_ARGUMENT"
)

// entry is an inode by its path. An id of "" is not known yet.
type entry struct {
	path        string
	id          string
	isDirectory bool
	isCompleted bool
	// What the file holds, or is going to hold.
	content     string
	lengthBytes int64
	// Somebody else completed it: it holds its content or nothing.
	isContentOpen bool
}

// tree is a state: entries sorted by path. Never changed once it is made.
type tree struct {
	entries []entry
	key     string
}

func newTree(entries []entry) *tree {
	var key strings.Builder
	for i := range entries {
		e := &entries[i]
		key.WriteString(e.path)
		switch {
		case e.isDirectory:
			key.WriteString("/")
		case !e.isCompleted:
			key.WriteString("+")
		case e.isContentOpen:
			key.WriteString("?")
		default:
			key.WriteString("=")
		}
		key.WriteString(e.content)
		key.WriteString("#")
		key.WriteString(e.id)
		key.WriteString("\n")
	}
	return &tree{entries: entries, key: key.String()}
}

func (t *tree) find(path string) *entry {
	at := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].path >= path })
	if at < len(t.entries) && t.entries[at].path == path {
		return &t.entries[at]
	}
	return nil
}

func (t *tree) with(added entry) *tree {
	entries := make([]entry, 0, len(t.entries)+1)
	isPlaced := false
	for _, e := range t.entries {
		if !isPlaced && e.path >= added.path {
			entries = append(entries, added)
			isPlaced = true
			if e.path == added.path {
				continue
			}
		}
		entries = append(entries, e)
	}
	if !isPlaced {
		entries = append(entries, added)
	}
	return newTree(entries)
}

func isWithin(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func (t *tree) without(path string) *tree {
	entries := make([]entry, 0, len(t.entries))
	for _, e := range t.entries {
		if !isWithin(e.path, path) {
			entries = append(entries, e)
		}
	}
	return newTree(entries)
}

func (t *tree) moved(from, to string) *tree {
	entries := append([]entry(nil), t.entries...)
	for i := range entries {
		if isWithin(entries[i].path, from) {
			entries[i].path = to + entries[i].path[len(from):]
		}
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].path < entries[j].path })
	return newTree(entries)
}

func (t *tree) children(path string) []entry {
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	var found []entry
	for _, e := range t.entries {
		if strings.HasPrefix(e.path, prefix) && !strings.Contains(e.path[len(prefix):], "/") {
			found = append(found, e)
		}
	}
	return found
}

// refusal is what a call gets that would make path; "" when it can be made.
func (t *tree) refusal(path string) string {
	names := strings.Split(path, "/")
	for depth := 1; depth < len(names); depth++ {
		above := t.find(strings.Join(names[:depth], "/"))
		if above == nil {
			return notFound
		}
		if !above.isDirectory {
			return invalidArgument
		}
	}
	if t.find(path) != nil {
		return alreadyExists
	}
	return ""
}

// change carries out a change on the tree: its result, and the tree after it.
func (t *tree) change(o *Operation) (string, *tree) {
	switch o.Kind {
	case "mkdir":
		if refusal := t.refusal(o.Path); refusal != "" {
			return refusal, t
		}
		return ok, t.with(entry{path: o.Path, isDirectory: true})
	case "create":
		if refusal := t.refusal(o.Path); refusal != "" {
			return refusal, t
		}
		return ok, t.with(entry{path: o.Path, id: o.ID, content: o.Content, lengthBytes: o.LengthBytes})
	case "complete", "write":
		return t.complete(o)
	case "giveUp":
		if e := t.find(o.Path); e == nil || e.isDirectory || e.isCompleted {
			return notFound, t
		}
		return ok, t.without(o.Path)
	case "delete":
		e := t.find(o.Path)
		if e == nil {
			return notFound, t
		}
		if e.isDirectory && !o.IsRecursive && len(t.children(o.Path)) > 0 {
			return failedPrecondition, t
		}
		return ok, t.without(o.Path)
	case "rename":
		return t.rename(o)
	}
	panic("no change is called " + o.Kind)
}

func (t *tree) complete(o *Operation) (string, *tree) {
	e := t.find(o.Path)
	if e == nil {
		return notFound, t
	}
	if e.isDirectory {
		return invalidArgument, t
	}
	if e.isCompleted {
		return alreadyExists, t
	}
	done := *e
	done.isCompleted = true
	if e.content != "" {
		// A block that was never committed makes the masters give the file a new id.
		done.id = ""
		done.isContentOpen = o.Kind == "complete"
	}
	return ok, t.with(done)
}

func (t *tree) rename(o *Operation) (string, *tree) {
	if o.To != o.Path && isWithin(o.To, o.Path) {
		return invalidArgument, t
	}
	if t.find(o.Path) == nil {
		return notFound, t
	}
	if o.To == o.Path {
		return ok, t
	}
	if t.find(o.To) != nil {
		return alreadyExists, t
	}
	names := strings.Split(o.To, "/")
	above := strings.Join(names[:len(names)-1], "/")
	if above != "" {
		e := t.find(above)
		if e == nil {
			return notFound, t
		}
		if !e.isDirectory {
			return invalidArgument, t
		}
	}
	return ok, t.moved(o.Path, o.To)
}

// settled is the tree once an operation has shown an entry's id; nil when the entry has another one.
func (t *tree) settled(e *entry, id string) *tree {
	if e.id == id || id == "" {
		return t
	}
	if e.id != "" {
		return nil
	}
	known := *e
	known.id = id
	return t.with(known)
}

// withContent is the tree once an operation has shown what a completed file holds; nil when it holds something else.
func (t *tree) withContent(e *entry, isEmpty bool) *tree {
	if !e.isContentOpen {
		if isEmpty == (e.content == "") {
			return t
		}
		return nil
	}
	known := *e
	known.isContentOpen = false
	if isEmpty {
		known.content = ""
		known.lengthBytes = 0
	}
	return t.with(known)
}

// step says whether an operation with this result is possible now, and the tree after it.
func (t *tree) step(o *Operation) (bool, *tree) {
	switch o.Kind {
	case "stat", "read":
		e := t.find(o.Path)
		if e == nil {
			return o.Result == notFound, t
		}
		if o.Kind == "read" {
			return t.stepRead(o, e)
		}
		return t.stepStat(o, e)
	case "exists":
		isThere := o.Path == "" || t.find(o.Path) != nil
		return o.Result == ok && o.DoesExist == isThere, t
	case "list":
		return t.stepList(o)
	}
	result, after := t.change(o)
	if o.Result == unknown {
		return true, after
	}
	if o.Kind == "write" && o.Result == notFound {
		// The worker or the masters did not find the block's file: removed, moved away, or completed without it.
		return true, t
	}
	return o.Result == result, after
}

func (t *tree) stepStat(o *Operation, e *entry) (bool, *tree) {
	if o.Result != ok || o.IsDirectory != e.isDirectory {
		return false, t
	}
	after := t.settled(e, o.ID)
	if after == nil || e.isDirectory {
		return after != nil, after
	}
	if o.IsCompleted != e.isCompleted {
		return false, t
	}
	if !e.isCompleted {
		return true, after
	}
	after = after.withContent(after.find(o.Path), o.LengthBytes == 0)
	return after != nil && after.find(o.Path).lengthBytes == o.LengthBytes, after
}

func (t *tree) stepRead(o *Operation, e *entry) (bool, *tree) {
	if e.isDirectory || !e.isCompleted {
		return o.Result == failedPrecondition, t
	}
	if o.Result != ok {
		return false, t
	}
	after := t.withContent(e, o.Content == "")
	return after != nil && after.find(o.Path).content == o.Content, after
}

func (t *tree) stepList(o *Operation) (bool, *tree) {
	shown := t.children(o.Path)
	prefix := o.Path + "/"
	if o.Path == "" {
		prefix = ""
	} else {
		e := t.find(o.Path)
		if e == nil {
			return o.Result == notFound, t
		}
		if !e.isDirectory {
			shown = []entry{*e}
			prefix = o.Path[:strings.LastIndex(o.Path, "/")+1]
		}
	}
	if o.Result != ok || len(o.Children) != len(shown) {
		return false, t
	}
	after := t
	for _, child := range o.Children {
		e := after.find(prefix + child.Name)
		if e == nil || e.isDirectory != child.IsDirectory {
			return false, t
		}
		if !e.isDirectory && e.isCompleted != child.IsCompleted {
			return false, t
		}
		if after = after.settled(e, child.ID); after == nil {
			return false, t
		}
	}
	return true, after
}
