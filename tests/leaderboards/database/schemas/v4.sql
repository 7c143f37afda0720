BEGIN TRANSACTION;
CREATE TABLE artefacts (
	run INTEGER NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	address TEXT NOT NULL, 
	PRIMARY KEY (run, kind), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "artefacts" VALUES(1,'checkpoint','0123456789abcdef');
INSERT INTO "artefacts" VALUES(1,'dataset','fedcba9876543210');
INSERT INTO "artefacts" VALUES(2,'checkpoint','0123456789abcdef');
INSERT INTO "artefacts" VALUES(2,'dataset','fedcba9876543210');
INSERT INTO "artefacts" VALUES(3,'checkpoint','0123456789abcdef');
INSERT INTO "artefacts" VALUES(3,'dataset','fedcba9876543210');
INSERT INTO "artefacts" VALUES(4,'checkpoint','0123456789abcdef');
INSERT INTO "artefacts" VALUES(4,'dataset','fedcba9876543210');
CREATE TABLE certificates (
	environment VARCHAR(255) NOT NULL, 
	protocol VARCHAR(255) NOT NULL, 
	content JSON NOT NULL, 
	PRIMARY KEY (environment, protocol)
);
CREATE TABLE diagnostics (
	run INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (run, name), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "diagnostics" VALUES(1,'tokens',2500.0);
INSERT INTO "diagnostics" VALUES(2,'tokens',2500.0);
INSERT INTO "diagnostics" VALUES(4,'tokens',2500.0);
CREATE TABLE episodes (
	run INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	returns BLOB NOT NULL, 
	lengths BLOB NOT NULL, 
	success BLOB, 
	PRIMARY KEY (run, task), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "episodes" VALUES(1,0,X'3295367D2D7226C0DAE4A86A3E9317C0AADA54CDA55812C0',X'320000003200000032000000',X'0000000000000000000000000000E03F000000000000F03F');
INSERT INTO "episodes" VALUES(1,1,X'2C0ABF14DEE629C073C4DB1D778C1BC0C05657F51FFB19C0',X'320000003200000032000000',X'0000000000000000000000000000E03F000000000000F03F');
INSERT INTO "episodes" VALUES(2,0,X'27267F080EA727C0276542700E351FC02E08BCB90A3C1BC0',X'320000003200000032000000',NULL);
INSERT INTO "episodes" VALUES(2,1,X'5AD28F3E79C129C0F55F1091BB341DC0EF543E1049D51AC0',X'320000003200000032000000',NULL);
INSERT INTO "episodes" VALUES(3,0,X'9A9999999999B9BF',X'32000000',NULL);
INSERT INTO "episodes" VALUES(4,0,X'3295367D2D7226C0DAE4A86A3E9317C0AADA54CDA55812C0',X'320000003200000032000000',X'0000000000000000000000000000E03F000000000000F03F');
INSERT INTO "episodes" VALUES(4,1,X'2C0ABF14DEE629C073C4DB1D778C1BC0C05657F51FFB19C0',X'320000003200000032000000',X'0000000000000000000000000000E03F000000000000F03F');
CREATE TABLE plugins (
	run INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	name TEXT NOT NULL, 
	distribution TEXT NOT NULL, 
	version TEXT NOT NULL, 
	content_hash TEXT NOT NULL, 
	PRIMARY KEY (run, position), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "plugins" VALUES(1,0,'environment','environment','icrl-bench','0.1.0','abababababababababababababababababababababababababababababababab');
INSERT INTO "plugins" VALUES(1,1,'method','method','icrl-bench','0.1.0','abababababababababababababababababababababababababababababababab');
INSERT INTO "plugins" VALUES(2,0,'environment','environment','icrl-bench','0.1.0','abababababababababababababababababababababababababababababababab');
INSERT INTO "plugins" VALUES(2,1,'method','method','icrl-bench','0.1.0','abababababababababababababababababababababababababababababababab');
INSERT INTO "plugins" VALUES(4,0,'environment','environment','icrl-bench','0.1.0','abababababababababababababababababababababababababababababababab');
INSERT INTO "plugins" VALUES(4,1,'method','method','icrl-bench','0.1.0','abababababababababababababababababababababababababababababababab');
CREATE TABLE provenance (
	run INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value JSON, 
	PRIMARY KEY (run, name), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "provenance" VALUES(1,'dirty','false');
INSERT INTO "provenance" VALUES(1,'git','"0000000000000000000000000000000000000000"');
INSERT INTO "provenance" VALUES(1,'kernel','"numba"');
INSERT INTO "provenance" VALUES(1,'threads',2);
INSERT INTO "provenance" VALUES(1,'versions','{"torch":"2.13.0"}');
INSERT INTO "provenance" VALUES(2,'dirty','false');
INSERT INTO "provenance" VALUES(2,'git','"0000000000000000000000000000000000000000"');
INSERT INTO "provenance" VALUES(2,'kernel','"numba"');
INSERT INTO "provenance" VALUES(2,'threads',2);
INSERT INTO "provenance" VALUES(2,'versions','{"torch":"2.13.0"}');
INSERT INTO "provenance" VALUES(3,'git','null');
INSERT INTO "provenance" VALUES(3,'nested','{"a":[1,2.5,"x",{}]}');
INSERT INTO "provenance" VALUES(4,'dirty','false');
INSERT INTO "provenance" VALUES(4,'git','"0000000000000000000000000000000000000000"');
INSERT INTO "provenance" VALUES(4,'kernel','"numba"');
INSERT INTO "provenance" VALUES(4,'threads',2);
INSERT INTO "provenance" VALUES(4,'versions','{"torch":"2.13.0"}');
CREATE TABLE runs (
	"key" INTEGER NOT NULL, 
	run_id VARCHAR(255) NOT NULL, 
	method TEXT NOT NULL, 
	backbone TEXT, 
	environment TEXT NOT NULL, 
	protocol TEXT NOT NULL, 
	track TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	num_tasks INTEGER NOT NULL, 
	num_episodes INTEGER NOT NULL, 
	parameters BIGINT NOT NULL, 
	collect_env_steps BIGINT NOT NULL, 
	train_env_steps BIGINT NOT NULL, 
	adapt_env_steps BIGINT NOT NULL, 
	variant JSON NOT NULL, 
	config JSON NOT NULL, 
	protocol_content TEXT, 
	step_rewards JSON, 
	created_at VARCHAR(40) NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE (run_id)
);
INSERT INTO "runs" VALUES(1,'reacher-goal-v1-laptop-v0-ad-mamba-0','ad-mamba','mamba','reacher-goal-v1','laptop-v0','online',0,2,3,130000,1200000,1050000,300,'{}','{"method":{"learning_rate":0.002,"context_length":750},"backbone":{"num_layers":4}}','id = "laptop-v0"',NULL,'2026-01-31T12:00:00+00:00');
INSERT INTO "runs" VALUES(2,'reacher-goal-v1-laptop-v0-ad-mamba-1','ad-mamba','mamba','reacher-goal-v1','laptop-v0','online',1,2,3,130000,1200000,1050000,300,'{"method.context_length":200,"method.note":"abc\u202edef\u2066\u200f"}','{"method":{"learning_rate":0.002,"context_length":750},"backbone":{"num_layers":4}}',NULL,NULL,'2026-01-31T12:00:00+00:00');
INSERT INTO "runs" VALUES(3,'reacher-goal-v1-laptop-v0-task-blind-0','task-blind',NULL,'reacher-goal-v1','laptop-v0','online',0,1,1,130000,1200000,1050000,50,'{}','{"method":{"learning_rate":0.002,"context_length":750},"backbone":{"num_layers":4}}',NULL,NULL,'2026-01-31T12:00:00+00:00');
INSERT INTO "runs" VALUES(4,'with-step-rewards','ad-mamba','mamba','reacher-goal-v1','laptop-v0','online',0,2,3,130000,1200000,1050000,300,'{}','{"method":{"learning_rate":0.002,"context_length":750},"backbone":{"num_layers":4}}','id = "laptop-v0"','[[0.5,-0.25],[1.0,0.125]]','2026-01-31T12:00:00+00:00');
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(4);
CREATE TABLE stages (
	run INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	seconds DOUBLE NOT NULL, 
	PRIMARY KEY (run, name), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "stages" VALUES(1,'adapt',11.25);
INSERT INTO "stages" VALUES(1,'collect',612.0);
INSERT INTO "stages" VALUES(1,'train',780.5);
INSERT INTO "stages" VALUES(2,'adapt',11.25);
INSERT INTO "stages" VALUES(2,'collect',612.0);
INSERT INTO "stages" VALUES(2,'train',780.5);
INSERT INTO "stages" VALUES(4,'adapt',11.25);
INSERT INTO "stages" VALUES(4,'collect',612.0);
INSERT INTO "stages" VALUES(4,'train',780.5);
CREATE TABLE studies (
	"key" INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	method TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	protocol TEXT NOT NULL, 
	track TEXT NOT NULL, 
	axes JSON NOT NULL, 
	created_at VARCHAR(40) NOT NULL, 
	PRIMARY KEY ("key"), 
	UNIQUE (name)
);
CREATE TABLE study_runs (
	study INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	run_id VARCHAR(255) NOT NULL, 
	seed BIGINT NOT NULL, 
	settings JSON NOT NULL, 
	error TEXT, 
	PRIMARY KEY (study, position), 
	FOREIGN KEY(study) REFERENCES studies ("key") ON DELETE CASCADE
);
CREATE TABLE tasks (
	run INTEGER NOT NULL, 
	task INTEGER NOT NULL, 
	label TEXT NOT NULL, 
	parameters JSON NOT NULL, 
	random DOUBLE NOT NULL, 
	zero_action DOUBLE NOT NULL, 
	oracle DOUBLE, 
	oracle_greedy DOUBLE, 
	blind_ceiling DOUBLE, 
	source_curve JSON, 
	PRIMARY KEY (run, task), 
	FOREIGN KEY(run) REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "tasks" VALUES(1,0,'test-000','[-0.14589256717606852,-0.061896564400105714]',-12.5,-9.0,-2.0,-1.8,-9.0,'[-12.0,-4.5,-1.25]');
INSERT INTO "tasks" VALUES(1,1,'test-001','[0.015055677128624045,0.08397485791224835]',-12.5,-9.0,-2.0,-1.8,-9.0,'[-12.0,-4.5,-1.25]');
INSERT INTO "tasks" VALUES(2,0,'test-000','[-0.09810212556908011,0.04774559282438284]',-12.5,-9.0,-2.0,-1.8,NULL,NULL);
INSERT INTO "tasks" VALUES(2,1,'test-001','[0.07930667507235906,-0.031279801619721465]',-12.5,-9.0,-2.0,-1.8,NULL,NULL);
INSERT INTO "tasks" VALUES(3,0,'test-000','[0.13236760579427687,-0.18550241524298478]',-12.5,-9.0,NULL,NULL,NULL,NULL);
INSERT INTO "tasks" VALUES(4,0,'test-000','[-0.14589256717606852,-0.061896564400105714]',-12.5,-9.0,-2.0,-1.8,-9.0,'[-12.0,-4.5,-1.25]');
INSERT INTO "tasks" VALUES(4,1,'test-001','[0.015055677128624045,0.08397485791224835]',-12.5,-9.0,-2.0,-1.8,-9.0,'[-12.0,-4.5,-1.25]');
COMMIT;
