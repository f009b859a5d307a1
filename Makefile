serve:
	python3 manage.py serve
test:
	python3 manage.py test
lint:
	python3 manage.py lint
lock:
	python3 manage.py lock
.PHONY: serve test lint lock
